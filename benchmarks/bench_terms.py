"""Do the losses of tabkd.neural equal TextBrewer's where both define one, and where not, by how much and why?

Random double tensors with padding. Each line puts a loss of TextBrewer beside the expression of ours that should equal
it; "plain" is ours as it is. The last lines are what equals nothing.

Run: pip install textbrewer tensorboard; python benchmarks/bench_terms.py
"""

from __future__ import annotations

from typing import Any

import torch
from _common import save
from textbrewer import losses

from tabkd.neural import functions, relations

QUESTION = "terms"
ROWS, HEADS, LENGTH, WIDTH, LABELS, T = 8, 4, 16, 12, 3, 4.0


def random(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A student's and a teacher's tensor."""
    return torch.randn(*shape, dtype=torch.float64), torch.randn(*shape, dtype=torch.float64)


def lines() -> list[dict[str, Any]]:
    torch.manual_seed(0)
    logits, labels = random(ROWS, LABELS), random(ROWS, 1)
    mask = torch.arange(LENGTH)[None] < torch.randint(2, LENGTH, (ROWS, 1))
    states = random(ROWS, LENGTH, WIDTH)
    # As in its models: padded keys are far below the rest, and scores come before the softmax.
    scores = tuple(s.masked_fill(~mask[:, None, None], -1e4) for s in random(ROWS, HEADS, LENGTH, LENGTH))
    maps = tuple(s.softmax(-1) for s in scores)
    averaged = tuple(m.mean(1, keepdim=True) for m in maps)
    means = tuple(s.mean(1) for s in scores)
    entropy = {
        "kd": losses.kd_ce_loss(logits[1], logits[1], T),
        "att": losses.att_ce_loss(scores[1], scores[1], mask),
        "mean": losses.att_ce_mean_loss(means[1], means[1], mask),
    }
    soft = functions.soft_kl(*logits, T)
    kl, mse = functions.attention_kl(*maps, mask), functions.attention_mse(*maps, mask)
    kl_of_means = functions.attention_kl(*(m.softmax(-1)[:, None] for m in means), mask)
    found = [
        ("kd_ce_loss", "soft_kl / T^2 + entropy", losses.kd_ce_loss(*logits, T), soft, soft / T**2 + entropy["kd"]),
        ("kd_mse_loss, 1 logit, T = 1", "squared_error", losses.kd_mse_loss(*labels),
         (error := functions.squared_error(*(x[:, 0] for x in labels))), error),
        ("hid_mse_loss", "hidden_mse", losses.hid_mse_loss(*states, mask),
         (hidden := functions.hidden_mse(*states, mask)), hidden),
        ("cos_loss", "hidden_cosine", losses.cos_loss(*states, mask),
         (cosine := functions.hidden_cosine(*states, mask)), cosine),
        ("att_mse_loss on probabilities", "attention_mse", losses.att_mse_loss(*maps, mask), mse, mse),
        ("att_mse_sum_loss on probabilities", "attention_mse of means * heads^2", losses.att_mse_sum_loss(*maps, mask),
         (of_means := functions.attention_mse(*averaged, mask)), of_means * HEADS**2),
        ("att_ce_loss", "attention_kl + entropy", losses.att_ce_loss(*scores, mask), kl, kl + entropy["att"]),
        ("att_ce_mean_loss", "attention_kl of softmax(mean scores) + entropy", losses.att_ce_mean_loss(*scores, mask),
         kl_of_means, kl_of_means + entropy["mean"]),
        ("att_ce_mean_loss", "attention_kl of mean probabilities + entropy: differs",
         losses.att_ce_mean_loss(*scores, mask), (k := functions.attention_kl(*averaged, mask)), k + entropy["mean"]),
        ("att_mse_loss on scores", "attention_mse of probabilities: differs", losses.att_mse_loss(*scores, mask),
         mse, mse),
        ("mmd_loss", "relation_kl, softmaxed: differs", losses.mmd_loss(*([s, s] for s in states), mask),
         (r := relations.relation_kl(*((s, s) for s in states), 1, mask)), r),
    ]  # fmt: skip
    return [
        {
            "textbrewer": theirs_name, "ours": ours_name, "its value": theirs.item(), "plain": plain.item(),
            "made equal": equal.item(), "difference": abs((theirs - equal).item()),
        }
        for theirs_name, ours_name, theirs, plain, equal in found
    ]  # fmt: skip


def gradients() -> list[dict[str, Any]]:
    """How the gradient of the student's logits shrinks with the temperature."""
    torch.manual_seed(0)
    s, t = random(ROWS, LABELS)
    found = []
    for temperature in (1.0, 2.0, 4.0, 10.0):
        sizes = {"temperature": temperature}
        for name, loss in (("textbrewer", losses.kd_ce_loss), ("tabkd", functions.soft_kl)):
            logits = s.clone().requires_grad_()
            loss(logits, t, temperature).backward()
            sizes[name] = logits.grad.norm().item()
        found.append(sizes)
    return found


def padding() -> list[dict[str, Any]]:
    """Losses of the same rows with 16 tokens and with 32."""
    torch.manual_seed(0)
    states, mask = random(ROWS, LENGTH, WIDTH), torch.arange(LENGTH)[None] < torch.randint(2, LENGTH, (ROWS, 1))
    longer = tuple(torch.nn.functional.pad(s, (0, 0, 0, LENGTH)) for s in states)
    more = torch.nn.functional.pad(mask, (0, LENGTH))
    calls = {
        "textbrewer hid_mse_loss": losses.hid_mse_loss,
        "textbrewer mmd_loss": lambda s, t, m: losses.mmd_loss([s, s], [t, t], m),
        "tabkd hidden_mse": functions.hidden_mse,
        "tabkd relation_kl": lambda s, t, m: relations.relation_kl((s, s), (t, t), 1, m),
    }
    return [
        {"loss": name, "16 tokens": call(*states, mask).item(), "32 tokens": call(*longer, more).item()}
        for name, call in calls.items()
    ]


if __name__ == "__main__":
    save(QUESTION, "values", lines())
    save(QUESTION, "gradients", gradients())
    save(QUESTION, "padding", padding())
