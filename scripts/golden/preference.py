"""Golden values of preference training, from an independent float64 implementation in PyTorch.

    /usr/bin/python3 scripts/golden/preference.py > test/golden/preference.json
    /usr/bin/python3 scripts/golden/preference.py --update simpo    # replaces the cases with this prefix in the file

The policy is the tiny Llama of training.py. The reference has the same weights times 0.97, unless a case sets another factor. Each case
has the loss, the values that the stage reports, and the norm and the first values of every gradient. Formulas are those of the papers,
in TRL's variants. Each answer is computed alone and without padding, so that no batch layout is shared with the tested code.
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F

from training import BASE, decoder, hashed, initial

FILE = pathlib.Path(__file__).parents[2] / "test" / "golden" / "preference.json"
C = {**BASE, "type": "llama"}
PAIRS = [(5, 6, 8), (3, 9, 4), (7, 4, 10)]  # lengths of prompt, chosen, rejected
DRAWN = [(4, 7), (4, 3), (4, 9), (6, 5), (6, 8), (6, 1)]  # lengths of prompt, completion: two groups of three


def ids(index, count):
    return ((hashed(2000 + index, count) + 0.5) * C["vocab"]).floor().long().tolist()


PAIR_IDS = [
    {"prompt": ids(3 * i, p), "chosen": ids(3 * i + 1, c), "rejected": ids(3 * i + 2, r)}
    for i, (p, c, r) in enumerate(PAIRS)
]
GROUP_PROMPTS = [ids(50, 4), ids(51, 6)]
DRAWN_IDS = [{"prompt": GROUP_PROMPTS[i // 3], "completion": ids(60 + i, n)} for i, (_, n) in enumerate(DRAWN)]


def hidden_states(w, sequence):
    """Returns the hidden states after the last norm, (tokens, hidden). An identity matrix replaces the head."""
    c = {**C, "tied": False}
    return decoder(c, {**w, "lm_head.weight": torch.eye(C["hidden"])}, torch.tensor([sequence]))[0]


def logprobs(w, sequence):
    """Returns the log-probability of every token but the first."""
    logits = decoder(C, w, torch.tensor([sequence]))[0, :-1]
    return logits.log_softmax(-1)[torch.arange(len(sequence) - 1), torch.tensor(sequence[1:])]


def answer(w, prompt, completion):
    return logprobs(w, prompt + completion)[len(prompt) - 1 :]


def reference(w, factor=0.97):
    return {n: (p.detach() * factor).float().double() for n, p in w.items()}


def case(w, loss, **report):
    loss.backward()
    gradients = {n: {"norm": p.grad.norm().item(), "first": p.grad.flatten()[:4].tolist()} for n, p in w.items()}
    return {"loss": loss.item(), "report": {k: float(v) for k, v in report.items()}, "gradients": gradients}


def pair_logprobs(w):
    with torch.no_grad():
        r = reference(w)
        ref = [(answer(r, p["prompt"], p["chosen"]), answer(r, p["prompt"], p["rejected"])) for p in PAIR_IDS]
    return [(answer(w, p["prompt"], p["chosen"]), answer(w, p["prompt"], p["rejected"])) for p in PAIR_IDS], ref


def dpo(loss_type, beta, smoothing=0.0, alpha=0.0):
    w = initial(C)
    policy, ref = pair_logprobs(w)
    reduce = (lambda x: x.mean()) if loss_type == "ipo" else (lambda x: x.sum())
    ratios = torch.stack([torch.stack([reduce(a) - reduce(b) for a, b in zip(p, r)]) for p, r in zip(policy, ref)])
    h = ratios[:, 0] - ratios[:, 1]
    if loss_type == "sigmoid":
        losses = -F.logsigmoid(beta * h) * (1 - smoothing) - F.logsigmoid(-beta * h) * smoothing
    elif loss_type == "hinge":
        losses = torch.relu(1 - beta * h)
    else:
        losses = (h - 1 / (2 * beta)) ** 2
    nll = -torch.cat([chosen for chosen, _ in policy]).mean()  # as in TRL, the mean over the batch's tokens
    rewards = beta * ratios.detach()
    extra = {"nllLoss": nll.detach()} if alpha else {}
    return case(
        w, losses.mean() + alpha * nll, **extra,
        rewardChosen=rewards[:, 0].mean(), rewardRejected=rewards[:, 1].mean(),
        rewardMargin=(rewards[:, 0] - rewards[:, 1]).mean(),
        rewardAccuracy=(rewards[:, 0] > rewards[:, 1]).double().mean(),
        logprobChosen=torch.stack([c.detach().sum() for c, _ in policy]).mean(),
        logprobRejected=torch.stack([r.detach().sum() for _, r in policy]).mean(),
    )


def orpo(beta):
    w = initial(C)
    policy, _ = pair_logprobs(w)
    chosen = torch.stack([c.mean() for c, _ in policy])
    rejected = torch.stack([r.mean() for _, r in policy])
    odds = (chosen - rejected) - (torch.log1p(-chosen.exp()) - torch.log1p(-rejected.exp()))
    nll = -torch.cat([logprobs(w, p["prompt"] + p["chosen"]) for p in PAIR_IDS]).mean()  # as in TRL, the mean over the batch's tokens
    loss = nll - beta * F.logsigmoid(odds).mean()
    return case(
        w, loss, nllLoss=nll.detach(), logOdds=odds.detach().mean(),
        rewardChosen=beta * chosen.detach().mean(), rewardRejected=beta * rejected.detach().mean(),
        rewardMargin=beta * (chosen - rejected).detach().mean(),
        rewardAccuracy=(chosen > rejected).double().mean(),
    )


def simpo(beta, gamma):
    w = initial(C)
    policy, _ = pair_logprobs(w)
    rewards = beta * torch.stack([torch.stack([c.mean(), r.mean()]) for c, r in policy])
    loss = -F.logsigmoid(rewards[:, 0] - rewards[:, 1] - gamma).mean()
    rewards = rewards.detach()
    return case(
        w, loss, rewardChosen=rewards[:, 0].mean(), rewardRejected=rewards[:, 1].mean(),
        rewardMargin=(rewards[:, 0] - rewards[:, 1]).mean(),
        rewardAccuracy=(rewards[:, 0] > rewards[:, 1]).double().mean(),
    )


# For KTO: whether each drawn answer is desirable. For the divergence, kto() pairs each prompt with the previous row's answer.
KTO_LABELS = [True, False, False, True, True, False]


def kto(loss_type, beta, good, bad, factor=0.97):
    """`factor` multiplies the reference's weights. Above 1, the divergence is positive; below 1, it is clamped to 0."""
    w = initial(C)
    r = reference(w, factor)
    ratio = lambda p, c: answer(w, p, c).sum() - answer(r, p, c).sum().detach()
    ratios = torch.stack([ratio(d["prompt"], d["completion"]) for d in DRAWN_IDS])
    with torch.no_grad():
        other = torch.stack([ratio(d["prompt"], DRAWN_IDS[i - 1]["completion"]) for i, d in enumerate(DRAWN_IDS)])
        kl = other.mean().clamp(min=0)
    losses = []
    for label, x in zip(KTO_LABELS, ratios):
        if loss_type == "kto":
            losses.append(good * (1 - torch.sigmoid(beta * (x - kl))) if label else bad * (1 - torch.sigmoid(beta * (kl - x))))
        else:
            losses.append(good * (1 - torch.sigmoid(beta * x)) if label else bad * torch.sigmoid(beta * x))
    labels = torch.tensor(KTO_LABELS)
    rewards = beta * ratios.detach()
    out = case(
        w, torch.stack(losses).mean(), rewardChosen=rewards[labels].mean(), rewardRejected=rewards[~labels].mean(),
        rewardMargin=rewards[labels].mean() - rewards[~labels].mean(), **({"kl": kl} if loss_type == "kto" else {}),
    )
    return {**out, "referenceFactor": factor}


def with_head(w, name, index, bias=False):
    """Adds a head over the hidden states to the weights."""
    w[name + ".weight"] = (hashed(index, C["hidden"]) * 0.4).float().double().view(1, -1).requires_grad_(True)
    if bias:
        w[name + ".bias"] = (hashed(index + 1, 1) * 0.4).float().double().requires_grad_(True)
    return w


REWARD_MARGINS = [0.0, 0.5, 1.25]


def reward(center, margins):
    w = with_head(initial(C), "score", 3000)
    trunk = {n: p for n, p in w.items() if n != "score.weight"}
    score = lambda p, c: (hidden_states(trunk, p + c)[-1] @ w["score.weight"].T)[0]
    chosen = torch.stack([score(p["prompt"], p["chosen"]) for p in PAIR_IDS])
    rejected = torch.stack([score(p["prompt"], p["rejected"]) for p in PAIR_IDS])
    margin = torch.tensor(REWARD_MARGINS) if margins else 0.0
    loss = (-F.logsigmoid(chosen - rejected - margin)).mean() + center * ((chosen + rejected) ** 2).mean()
    c, r = chosen.detach(), rejected.detach()
    return case(w, loss, rewardChosen=c.mean(), rewardRejected=r.mean(), rewardMargin=(c - r).mean(),
                rewardAccuracy=(c > r).double().mean())


def noise(index, count, size):
    return hashed(index, count) * 2 * size


def gae(rewards, values, gamma, lam):
    out, running = torch.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        following = values[t + 1] if t + 1 < len(rewards) else 0.0
        running = rewards[t] + gamma * following - values[t] + gamma * lam * running
        out[t] = running
    return out, out + values


def ppo(cliprange, cliprange_value, vf_coef, gamma, lam, kl_coef):
    w = with_head(initial(C), "v_head.summary", 3001, bias=True)
    trunk = {n: p for n, p in w.items() if not n.startswith("v_head")}
    value = lambda d: (hidden_states(trunk, d["prompt"] + d["completion"]) @ w["v_head.summary.weight"].T
                       + w["v_head.summary.bias"])[len(d["prompt"]) - 1 : -1, 0]
    r = reference(trunk)
    items = []
    for i, d in enumerate(DRAWN_IDS):
        n = len(d["completion"])
        now, values = answer(trunk, d["prompt"], d["completion"]), value(d)
        with torch.no_grad():
            old = (now + noise(70 + i, n, 0.4)).float().double()
            old_values = (values + noise(80 + i, n, 0.4)).float().double()
            ref = answer(r, d["prompt"], d["completion"]).float().double()
            rewards = -kl_coef * (old - ref)
            rewards[-1] += SCORES[i]
            advantages, returns = gae(rewards, old_values, gamma, lam)
        items.append((now, values, old, old_values, advantages, returns, ref))
    everything = torch.cat([x[4] for x in items])
    whitened = (everything - everything.mean()) * torch.rsqrt(everything.var() + 1e-8)
    policy, value_losses, ratios, at = [], [], [], 0
    for now, values, old, old_values, advantages, returns, _ in items:
        a = whitened[at : at + len(now)]
        at += len(now)
        ratio = torch.exp(now - old)
        policy.append(torch.max(-a * ratio, -a * torch.clamp(ratio, 1 - cliprange, 1 + cliprange)))
        clipped = torch.clamp(values, old_values - cliprange_value, old_values + cliprange_value)
        value_losses.append(0.5 * torch.max((values - returns) ** 2, (clipped - returns) ** 2))
        ratios.append(ratio.detach())
    policy_loss, value_loss = torch.cat(policy).mean(), torch.cat(value_losses).mean()
    ratio = torch.cat(ratios)
    out = case(w, policy_loss + vf_coef * value_loss, policyLoss=policy_loss.detach(), valueLoss=value_loss.detach(),
               clipRatio=((ratio - 1).abs() > cliprange).double().mean(), approxKl=(ratio - 1 - ratio.log()).mean())
    at = 0
    out["answers"] = []
    for now, values, old, old_values, advantages, returns, ref in items:
        out["answers"].append({
            "logprobs": old.tolist(), "referenceLogprobs": ref.tolist(), "values": old_values.tolist(),
            "advantages": whitened[at : at + len(now)].tolist(), "returns": returns.tolist(),
        })
        at += len(now)
    return out


SCORES = [1.0, -0.5, 0.25, 2.0, 2.0, 0.0]


def grpo(loss_type="grpo", level="token", epsilon=0.2, high=0.2, beta=0.04, delta=None, scale=True, longest=12,
         cap=None, first_pass=False):
    """With `cap`, another model has drawn the answers. That model's log-probabilities are those of the old policy with noise."""
    w = initial(C)
    r = reference(w)
    scores = torch.tensor(SCORES).view(2, 3)
    advantages = scores - scores.mean(1, keepdim=True)
    if scale:
        advantages = advantages / (scores.std(1, keepdim=True) + 1e-4)
    per_answer, kls, weights, clipped = [], [], [], []
    drawn = []
    for i, d in enumerate(DRAWN_IDS):
        n, a = len(d["completion"]), advantages.flatten()[i]
        now = answer(w, d["prompt"], d["completion"])
        with torch.no_grad():
            old = now.clone() if first_pass else (now + noise(70 + i, n, 0.4)).float().double()
            sampler = (old + noise(90 + i, n, 0.9)).float().double()
            ref = answer(r, d["prompt"], d["completion"])
        of = lambda difference: difference.mean().expand(n) if level == "sequence" else difference
        ratio = torch.exp(of(now - old))
        cut = torch.clamp(ratio, 1 - epsilon, 1 + high)
        bounded = ratio if delta is None else torch.clamp(ratio, max=delta)
        loss = -torch.min(bounded * a, cut * a)
        if cap is not None:
            weight = torch.clamp(torch.exp(of(old - sampler)), max=cap)
            loss = loss * weight
            weights.append(weight)
        kl = torch.exp(ref - now) - (ref - now) - 1
        per_answer.append(loss + beta * kl)
        kls.append(kl.detach())
        clipped.append((ratio.detach() < 1 - epsilon) if a < 0 else ((ratio.detach() > 1 + high) & (a > 0)))
        drawn.append({"logprobs": old.tolist(), "referenceLogprobs": ref.tolist(), "advantage": a.item()})
        if cap is not None:
            drawn[-1]["samplerLogprobs"] = sampler.tolist()
    if loss_type == "grpo":
        loss = torch.stack([x.mean() for x in per_answer]).mean()
    elif loss_type == "dapo":
        loss = torch.cat(per_answer).mean()
    else:
        loss = sum(x.sum() for x in per_answer) / (len(per_answer) * longest)
    extra = {"kl": torch.cat(kls).mean()} if beta else {}
    if cap is not None:
        extra["samplingWeight"] = torch.cat(weights).mean()
    return {**case(w, loss, clipRatio=torch.cat(clipped).double().mean(), **extra), "answers": drawn}


def reference_values():
    """Returns the log-probabilities under the reference, one per completion."""
    with torch.no_grad():
        r = reference(initial(C))
        of = lambda p, c: answer(r, p, c).sum().item()
        return {
            "pairs": [{"chosen": of(p["prompt"], p["chosen"]), "rejected": of(p["prompt"], p["rejected"])} for p in PAIR_IDS],
            "drawn": [of(d["prompt"], d["completion"]) for d in DRAWN_IDS],
            "mismatched": [of(d["prompt"], DRAWN_IDS[i - 1]["completion"]) for i, d in enumerate(DRAWN_IDS)],
        }


CASES = {
    "dpo sigmoid": lambda: dpo("sigmoid", 0.1),
    "dpo sigmoid, smoothed": lambda: dpo("sigmoid", 0.3, smoothing=0.1),
    "dpo sigmoid, chosen nll": lambda: dpo("sigmoid", 0.1, alpha=0.5),
    "dpo ipo": lambda: dpo("ipo", 0.2),
    "dpo hinge": lambda: dpo("hinge", 0.1),
    "orpo": lambda: orpo(0.25),
    "simpo": lambda: simpo(2.0, 0.5),
    "kto": lambda: kto("kto", 0.1, 1.0, 1.3),
    "kto, a divergence above 0": lambda: kto("kto", 0.2, 1.0, 1.3, factor=1.06),
    "kto apo_zero_unpaired": lambda: kto("apo_zero_unpaired", 0.1, 1.2, 1.0),
    "reward": lambda: reward(0.0, False),
    "reward, margins, centred": lambda: reward(0.01, True),
    "ppo": lambda: ppo(0.2, 0.2, 0.1, 1.0, 0.95, 0.05),
    "grpo": lambda: grpo(),
    "grpo, two-sided, no reference": lambda: grpo(beta=0.0, delta=1.4, high=0.3),
    "dapo": lambda: grpo("dapo", beta=0.0, high=0.28),
    "gspo": lambda: grpo("grpo", "sequence", epsilon=0.05, high=0.06),
    "dr_grpo": lambda: grpo("dr_grpo", scale=False, beta=0.01),
    "grpo, drawn by a twin": lambda: grpo(cap=1.3),
    "gspo, drawn by a twin": lambda: grpo("grpo", "sequence", epsilon=0.05, high=0.06, cap=1.1),
    "dapo, drawn by a twin, first pass": lambda: grpo("dapo", beta=0.0, cap=2.0, first_pass=True),
}


def made(beginnings):
    return {name: golden_of() for name, golden_of in CASES.items() if name.startswith(beginnings)}


if sys.argv[1:2] == ["--update"]:
    golden = json.loads(FILE.read_text())
    cases = {**golden["cases"], **made(tuple(sys.argv[2:]) or "")}
    text = json.dumps({**golden, "cases": {name: cases[name] for name in CASES}}, separators=(",", ":"))
    FILE.write_text(text + "\n")
else:
    print(json.dumps({
        "pairs": PAIR_IDS, "drawn": DRAWN_IDS, "labels": KTO_LABELS, "margins": REWARD_MARGINS, "scores": SCORES,
        "reference": reference_values(), "cases": made(""),
    }, separators=(",", ":")))
