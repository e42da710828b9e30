"""The parts of the C program that calls a file."""

from __future__ import annotations

__all__ = ["HELPERS", "MATRIX", "PROGRAM", "RESERVED", "TENSORS"]

TENSORS = """\
    OrtValue *inputs[] = {
@cells@
    };
"""


MATRIX = """\
    const float features[N_COLUMNS] = {
@cells@
    };
    OrtValue *inputs[] = {tensor(features, N_COLUMNS)};
"""


PROGRAM = r"""// Predicts with @model@, through onnxruntime @release@ or newer.
// Written by tabkd from what the file says about itself.
//
//   gcc -std=c11 example.c -I ORT/include -L ORT/lib -lonnxruntime -o example
//   ./example MODEL < rows.csv        rows in UTF-8 without a header; cells in the order of struct row
//   ./example MODEL 'cell,cell,...'   one row
//
// An empty cell is missing. In a program of your own: open a session as main does, fill a struct row, call predict.
// On Windows the path of the model is wide: give CreateSession a wchar_t string.

#include <onnxruntime_c_api.h>

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_COLUMNS = @n_columns@, N_VALUES = @n_values@ };

// A row of raw values; texts are in UTF-8.
struct row {
@fields@
};

// What the model says about a row.
struct answer {
@label@    @number@ values[N_VALUES];  // HEADER names them
};

static const char HEADER[] = @header@;
static const char *const INPUTS[] = {@inputs@};
static const char *const OUTPUTS[] = {@outputs@};
@classes@@tables@static const OrtApi *ort;

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "%s%s\n", what, detail);
    exit(EXIT_FAILURE);
}

static void check(OrtStatus *status)
{
    if (status != NULL)
        fail("onnxruntime: ", ort->GetErrorMessage(status));
}

#helpers
static void predict(OrtSession *session, const struct row *row, struct answer *answer)
{
@tensors@    enum { N_INPUTS = sizeof inputs / sizeof *inputs, N_OUTPUTS = sizeof OUTPUTS / sizeof *OUTPUTS };
    OrtValue *outputs[N_OUTPUTS] = {NULL};
    check(ort->Run(session, NULL, INPUTS, (const OrtValue *const *)inputs, N_INPUTS, OUTPUTS, N_OUTPUTS, outputs));
    void *data;
@take@    check(ort->GetTensorMutableData(outputs[@last@], &data));
    memcpy(answer->values, data, sizeof answer->values);
    for (size_t i = 0; i < N_INPUTS; i++)
        ort->ReleaseValue(inputs[i]);
    for (size_t i = 0; i < N_OUTPUTS; i++)
        ort->ReleaseValue(outputs[i]);
}

// Cuts the first row of a CSV text into cells, in place; returns the text behind it.
static char *split(char *text, char *cells[N_COLUMNS])
{
    size_t n_cells = 0;
    char end = ',';
    while (end == ',') {
        char *cell = text, *to = text;
        for (bool quoted = false; *text != '\0' && (quoted || (*text != ',' && *text != '\n')); text++) {
            if (*text != '"')
                *to++ = *text;
            else if (quoted && text[1] == '"')
                *to++ = *text++;
            else
                quoted = !quoted;
        }
        end = *text;
        text += end != '\0';
        to -= end != ',' && to > cell && to[-1] == '\r';
        *to = '\0';
        if (n_cells < N_COLUMNS)
            cells[n_cells] = cell;
        n_cells++;
    }
    if (n_cells != N_COLUMNS) {
        char counts[64];
        snprintf(counts, sizeof counts, "%zu cells, the model needs %d.", n_cells, N_COLUMNS);
        fail("A row has ", counts);
    }
    return text;
}

static void read_row(char *const cells[N_COLUMNS], struct row *row)
{
@reads@
}

static char *read_all(FILE *file)
{
    size_t size = 0, room = 0;
    char *text = NULL;
    do {
        if (room - size < 2) {
            room = 2 * room + 4096;
            text = realloc(text, room);
            if (text == NULL)
                fail("There is no memory for these rows.", "");
        }
        size += fread(text + size, 1, room - size - 1, file);
    } while (!feof(file) && !ferror(file));
    text[size] = '\0';
    return text;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3)
        fail("Usage: example MODEL < rows.csv, or: example MODEL ROW", "");
    ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (ort == NULL)
        fail("This onnxruntime is older than the header of the program: ", OrtGetApiBase()->GetVersionString());
    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "example", &env));
    check(ort->CreateSessionOptions(&options));
    check(ort->SetIntraOpNumThreads(options, 1));
    check(ort->CreateSession(env, argv[1], options, &session));

    char *input = argc == 3 ? NULL : read_all(stdin);
    puts(HEADER);
    for (char *text = argc == 3 ? argv[2] : input; *text != '\0';) {
        char *cells[N_COLUMNS];
        struct row row;
        struct answer answer;
        text = split(text, cells);
        read_row(cells, &row);
        predict(session, &row, &answer);
@show@        for (int i = 0; i < N_VALUES; i++)
            printf("%.@digits@g%c", (double)answer.values[i], i + 1 < N_VALUES ? ',' : '\n');
    }

    free(input);
    ort->ReleaseSession(session);
    ort->ReleaseSessionOptions(options);
    ort->ReleaseEnv(env);
    return EXIT_SUCCESS;
}
"""


HELPERS = {
    "new_tensor": """\
static OrtValue *new_tensor(ONNXTensorElementDataType type, int64_t width)
{
    const int64_t shape[] = {1, width};
    OrtAllocator *allocator;
    OrtValue *value = NULL;
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->CreateTensorAsOrtValue(allocator, shape, 2, type, &value));
    return value;
}

""",
    "tensor": """\
static OrtValue *tensor(const float *numbers, size_t width)
{
    OrtValue *value = new_tensor(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, (int64_t)width);
    void *data;
    check(ort->GetTensorMutableData(value, &data));
    memcpy(data, numbers, width * sizeof *numbers);
    return value;
}

""",
    "number_tensor": """\
static OrtValue *number_tensor(float number)
{
    return tensor(&number, 1);
}

""",
    "text_tensor": """\
static OrtValue *text_tensor(const char *text)
{
    OrtValue *value = new_tensor(ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, 1);
    check(ort->FillStringTensor(value, &text, 1));
    return value;
}

""",
    "float_code": """\
// The code of a category: 0 unknown, 1 missing, 2 and up the known ones, behind which stands NAN.
static float float_code(float number, const float *known)
{
    if (isnan(number))
        return 1;
    for (int i = 0; !isnan(known[i]); i++)
        if (known[i] == number)
            return (float)(2 + i);
    return 0;
}

""",
    "string_code": """\
// The code of a category: 0 unknown, 1 missing, 2 and up the known ones, behind which stands NULL.
static float string_code(const char *text, const char *const *known)
{
    if (*text == '\\0')
        return 1;
    for (int i = 0; known[i] != NULL; i++)
        if (strcmp(known[i], text) == 0)
            return (float)(2 + i);
    return 0;
}

""",
    "decimal": """\
struct decimal {
    char text[40];
};

// A number as Python writes it, in which form the model learnt it as text.
static struct decimal decimal(float number)
{
    struct decimal made = {""};
    char digits[40];
    int precision = 0;
    if (isnan(number))
        return made;
    if (isinf(number)) {
        strcpy(made.text, number > 0 ? "inf" : "-inf");
        return made;
    }
    do
        snprintf(digits, sizeof digits, "%.*e", precision, (double)number);
    while (strtod(digits, NULL) != (double)number && ++precision < 17);
    int power = atoi(strchr(digits, 'e') + 1);
    if (power < -4 || power >= 16)
        strcpy(made.text, digits);
    else
        snprintf(made.text, sizeof made.text, "%.*f", precision > power ? precision - power : 1, (double)number);
    char *point = strchr(made.text, localeconv()->decimal_point[0]);
    if (point != NULL)
        *point = '.';
    return made;
}

""",
    "number": """\
// Numbers are written with a point, whatever the locale of the program.
static float number(const char *cell, const char *column)
{
    char copy[400];
    if (*cell == '\\0')
        return NAN;
    if (strlen(cell) >= sizeof copy)
        fail("This column must hold numbers, but does not: ", column);
    strcpy(copy, cell);
    char *point = strchr(copy, '.'), *end;
    if (point != NULL)
        *point = localeconv()->decimal_point[0];
    float value = (float)strtod(copy, &end);
    if (*end != '\\0')
        fail("This column must hold numbers, but does not: ", column);
    return value;
}

""",
    "whole": """\
// A whole number without the decimals that some programs write behind it.
static const char *whole(char *cell)
{
    char *point = strchr(cell, '.');
    if (point != NULL && point[1] != '\\0' && strspn(point + 1, "0") == strlen(point + 1))
        *point = '\\0';
    return strcmp(cell, "-0") == 0 ? "0" : cell;
}

""",
    "flag": """\
static const char *flag(const char *cell, const char *yes, const char *no)
{
    if (strcmp(cell, "1") == 0 || strcmp(cell, "true") == 0 || strcmp(cell, "True") == 0 ||
        strcmp(cell, "TRUE") == 0)
        return yes;
    if (strcmp(cell, "0") == 0 || strcmp(cell, "false") == 0 || strcmp(cell, "False") == 0 ||
        strcmp(cell, "FALSE") == 0)
        return no;
    return cell;
}

""",
    "print_cell": """\
static void print_cell(const char *text)
{
    if (strpbrk(text, ",\\"\\r\\n") == NULL) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text != '\\0'; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

""",
}


#: Keywords, and what the headers may define by a name in small letters.
RESERVED = """
    alignas alignof asm auto bool break case char complex const constexpr continue default do double else enum errno
    extern false far float for goto if imaginary inline int interface linux long near nan noreturn nullptr null
    infinity register restrict return short signed sizeof small static static_assert stderr stdin stdout struct switch
    thread_local true typedef typeof typeof_unqual union unix unsigned void volatile while"""
