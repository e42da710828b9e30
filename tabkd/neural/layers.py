def check_vocabulary(a, b):
    pass
