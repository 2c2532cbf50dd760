"""The rules of docs/parity.md once more, in plain loops of 64 bit that share nothing with the program."""

import math
from itertools import pairwise

import numpy as np
from scipy.special import betainc

BETAS = [(0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999) ** 2 for i in range(1000)]
ALPHAS = np.multiply.accumulate([1 - beta for beta in BETAS])
SIGMAS = [math.sqrt((1 - a) / a) for a in ALPHAS]
LOW, HIGH = SIGMAS[0], SIGMAS[-1]


def sigma_at(t):
    """Log sigma is linear between whole times."""
    i = min(int(t), 998)
    return math.exp(math.log(SIGMAS[i]) * (1 - (t - i)) + math.log(SIGMAS[i + 1]) * (t - i))


def time_of(sigma):
    """The inverse; the ends outside of the trained range."""
    if sigma <= LOW:
        return 0.0
    for i in range(999):
        if sigma <= SIGMAS[i + 1]:
            return i + math.log(sigma / SIGMAS[i]) / math.log(SIGMAS[i + 1] / SIGMAS[i])
    return 999.0


def even(first, last, n):
    return [first + (last - first) * i / max(n - 1, 1) for i in range(n)]


def beta_quantile(share, a=0.6, b=0.6):
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if betainc(a, b, middle) < share else (low, middle)
    return (low + high) / 2


def along(table, n):
    """Log-linear along a published table."""
    made = []
    for place in even(0.0, len(table) - 1.0, n):
        i = min(int(place), len(table) - 2)
        made.append(math.exp(math.log(table[i]) * (1 - place + i) + math.log(table[i + 1]) * (place - i)))
    return [*made, 0.0]


def linear_quadratic(n):
    half = n // 2
    rise = (half - 0.025 * n) / (half * (n - half) ** 2)
    return [HIGH * (1 - 0.025 * i / half - rise * max(i - half, 0) ** 2) for i in range(n)] + [0.0]


AYS = {
    "sd1": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
    "sdxl": [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
}
GITS = {
    "sd1": [14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029],
    "sdxl": [14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029],
}
AYS_32 = {  # as Forge has them, its zeros left out
    "sd1": [14.615, 11.23951352, 8.64363081, 6.64729424, 5.57250862, 4.71648546, 3.99196065, 3.5195609, 3.13490466,
            2.79228788, 2.48773628, 2.21663865, 1.97508351, 1.7793172, 1.61475335, 1.46540953, 1.314849, 1.16642497,
            1.03475547, 0.91573744, 0.80748169, 0.71202361, 0.621739, 0.53065202, 0.4529096, 0.37491455, 0.27461819,
            0.2011529, 0.14105873, 0.06682881, 0.03166121, 0.015],
    "sdxl": [14.615, 11.1491618, 8.50522127, 6.48827151, 5.43707402, 4.60398619, 3.89854704, 3.27407457, 2.74396527,
             2.29968659, 1.95448514, 1.67108715, 1.42878152, 1.23181009, 1.06789649, 0.92579443, 0.80290886, 0.69660121,
             0.60436903, 0.52852552, 0.46773344, 0.41393379, 0.36258186, 0.31008517, 0.26518925, 0.22326461, 0.17653877,
             0.13959192, 0.10587381, 0.05519369, 0.02877334, 0.015],
}  # fmt: skip

SCHEDULES = {
    "Karras": lambda n, m: [*(r**7 for r in even(HIGH ** (1 / 7), LOW ** (1 / 7), n)), 0.0],
    "Exponential": lambda n, m: [*(math.exp(v) for v in even(math.log(HIGH), math.log(LOW), n)), 0.0],
    "Polyexponential": lambda n, m: [*(math.exp(v) for v in even(math.log(HIGH), math.log(LOW), n)), 0.0],
    "SGM Uniform": lambda n, m: [*(sigma_at(999 - 999 * i / n) for i in range(n)), 0.0],
    "Simple": lambda n, m: [*(SIGMAS[-(1 + int(i * 1000 / n))] for i in range(n)), 0.0],
    "Normal": lambda n, m: [*(sigma_at(t) for t in even(999.0, 0.0, n)), 0.0],
    "Uniform": lambda n, m: [*(sigma_at(t) for t in even(999.0, 0.0, n)), 0.0],
    "KL Optimal": lambda n, m: [math.tan(angle) for angle in even(math.atan(HIGH), math.atan(LOW), n + 1)],
    "DDIM": lambda n, m: [*reversed([SIGMAS[i] for i in range(1, 1000, 1000 // n)]), 0.0],
    "Beta": lambda n, m: [*(LOW + beta_quantile(share) * (HIGH - LOW) for share in even(1.0, 0.0, n)), 0.0],
    "Turbo": lambda n, m: [*(SIGMAS[round(1000 * k / n - 1)] for k in range(n, 0, -1)), 0.0],
    "Align Your Steps": lambda n, m: along(AYS[m], n),
    "Align Your Steps 11": lambda n, m: along(AYS[m], n),
    "Align Your Steps GITS": lambda n, m: along(GITS[m], n),
    "Align Your Steps 32": lambda n, m: along(AYS_32[m], n),
    "Linear Quadratic": lambda n, m: linear_quadratic(n),
}


def own_times(n):
    """DDIM's and PLMS's, walked down."""
    return [min(t + 1, 999) for t in range(0, 1000, 1000 // n)][::-1]


OWN = {
    "DDIM": lambda n: [sigma_at(t) for t in own_times(n)],
    "UniPC": lambda n: [sigma_at(t) for t in even(999.0, 0.0, len(own_times(n)) + 1)],
    "LCM": lambda n: [*(sigma_at(t) for t in even(999.0, 19.0, n)), 0.0],
}

# Walks: ``D(x, sigma) -> (guided x0, unconditional x0)``, arrays of 64 bit.


def slope(D, x, sigma):
    return (x - D(x, sigma)[0]) / sigma


def euler(D, x, s):
    for a, b in pairwise(s):
        x = x + slope(D, x, a) * (b - a)
    return x


def heun(D, x, s):
    for a, b in pairwise(s):
        d = slope(D, x, a)
        x = x + d * (b - a) if b == 0 else x + (d + slope(D, x + d * (b - a), b)) / 2 * (b - a)
    return x


def dpm2(D, x, s):
    for a, b in pairwise(s):
        d = slope(D, x, a)
        if b > 0:
            middle = math.sqrt(a * b)
            d = slope(D, x + d * (middle - a), middle)
        x = x + d * (b - a)
    return x


def dpmpp_2m(D, x, s):
    last = None
    for i, (a, b) in enumerate(pairwise(s)):
        x0 = D(x, a)[0]
        mixed = x0
        if last is not None and b > 0:
            r = math.log(s[i - 1] / a) / math.log(a / b)
            mixed = (1 + 1 / (2 * r)) * x0 - last / (2 * r)
        x, last = b / a * x + (1 - b / a) * mixed, x0
    return x


def lms(D, x, s, order=4):
    past = []
    for i, (a, b) in enumerate(pairwise(s)):
        past = [slope(D, x, a), *past][:order]
        known = [s[i - k] for k in range(len(past))]
        for own, d in zip(known, past, strict=True):
            poly = np.poly1d([1.0])
            for other in known:
                if other != own:
                    poly *= np.poly1d([1.0, -other]) / (own - other)
            whole = poly.integ()
            x = x + d * (whole(b) - whole(a))
    return x


EQUAL = {1: [24], 2: [36, -12], 3: [46, -32, 10], 4: [55, -59, 37, -9]}


def plms(D, x, s):
    past = []
    for a, b in pairwise(s):
        past = [slope(D, x, a), *past][:4]
        d = sum(w * one for w, one in zip(EQUAL[len(past)], past, strict=True)) / 24
        if len(past) == 1 and b > 0:
            d = (past[0] + slope(D, x + past[0] * (b - a), b)) / 2
        x = x + d * (b - a)
    return x


def ipndm(D, x, s):
    past = []
    for a, b in pairwise(s):
        past = [slope(D, x, a), *past][:4]
        known = past[:1] if b == 0 else past
        x = x + sum(w * one for w, one in zip(EQUAL[len(known)], known, strict=True)) / 24 * (b - a)
    return x


def ipndm_v(D, x, s):
    past = []
    for i, (a, b) in enumerate(pairwise(s)):
        past = [slope(D, x, a), *past][:4]
        if len(past) == 1 or b == 0:
            x = x + past[0] * (b - a)
            continue
        h0, h1, h2, h3 = [s[max(i - k, 0) + 1] - s[max(i - k, 0)] for k in range(4)]
        r, f = h1 / h2, h1 * (h1 + h2) / (h2 * (h2 + h3))
        A, B = h0 / (2 * h1), (1 - h0**2 / (3 * h1 * (h1 + h2))) / 2 * (len(past) > 2)
        C = ((1 - h0 / (3 * (h0 + h1))) / 2 + (1 - h0 / (2 * (h0 + h1))) * h0 / (6 * (h0 + h1 + h2))) * (
            h0 * (h0 + h1) * (h0 + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3)) * (len(past) > 3)
        )
        weights = [1 + A + B + C, -A - (1 + r) * B - (1 + r + f) * C, r * B + (r + f * (1 + h2 / h3)) * C, -f * r * C]
        x = x + sum(w * d for w, d in zip(weights, past, strict=False)) * h0
    return x


def deis(D, x, s):
    early, late = math.log(1 + 0.002**2), math.log(1 + 80**2)
    q, p = np.linalg.solve([[0.5e-6, 1e-3], [0.5, 1.0]], [early, late])
    clock = [(math.sqrt(p * p + 2 * q * math.log(1 + sigma**2)) - p) / q for sigma in s]
    past = []
    for i, (a, b) in enumerate(pairwise(s)):
        past = [slope(D, x, a), *past][:3]
        if b == 0:
            x = x - past[0] * a
            continue
        ts = np.linspace(clock[i], clock[i + 1], 4001)
        grown = np.exp(q * ts**2 / 2 + p * ts)
        rate = (q * ts + p) * grown / (2 * np.sqrt(grown - 1))
        known = [clock[i - k] for k in range(len(past))]
        simpson = np.array([1.0, *[4.0, 2.0] * 1999, 4.0, 1.0]) * (ts[1] - ts[0]) / 3
        for own, d in zip(known, past, strict=True):
            share = np.prod([(ts - other) / (own - other) for other in known if other != own] or [np.ones_like(ts)], 0)
            x = x + d * float((simpson * rate * share).sum())
    return x


def heunpp2(D, x, s):
    n = len(s) - 1
    for i in range(n):
        step, d = s[i + 1] - s[i], slope(D, x, s[i])
        if i < n - 1:
            x2 = x + d * step
            d2 = slope(D, x2, s[i + 1])
            if i == n - 2:
                w = s[i + 1] / (2 * s[0])
                d = (1 - w) * d + w * d2
            else:
                d3 = slope(D, x2 + d2 * (s[i + 2] - s[i + 1]), s[i + 2])
                v, w = s[i + 1] / (3 * s[0]), s[i + 2] / (3 * s[0])
                d = (1 - v - w) * d + v * d2 + w * d3
        x = x + d * step
    return x


def gradient_estimation(D, x, s):
    last = None
    for a, b in pairwise(s):
        d = slope(D, x, a)
        x, last = x + (d if last is None or b == 0 else 2 * d - last) * (b - a), d
    return x


def cfgpp(D, x, s):
    for a, b in pairwise(s):
        x0, uncond = D(x, a)
        x = x0 + (x - uncond) * b / a
    return x


def unipc(D, x, s):
    """Order 3, B(h) = h: predicted, then corrected by the next step's own answer; orders 1, 2, 3, ..., 3, 2, 1."""
    n = len(s) - 1
    known = [(s[0], D(x, s[0])[0])]
    for i in range(n):
        order = min(3, i + 1, n - i)
        if s[i + 1] == 0:
            return known[0][1]
        there = unipc_step(x, known[:order], s[i + 1], None)
        if i < n - 1:
            answer = D(there, s[i + 1])[0]
            there = unipc_step(x, known[:order], s[i + 1], answer)
            known = [(s[i + 1], answer), *known]
        x = there
    return x


def unipc_step(x, known, later, answer):
    at, x0 = known[0]
    h = math.log(at / later)
    places = [math.log(at / sigma) / h for sigma, _ in known[1:]]
    moves = [(value - x0) / place for place, (_, value) in zip(places, known[1:], strict=True)]
    if answer is not None:
        places, moves = [*places, 1.0], [*moves, answer - x0]
    x = later / at * x + (1 - later / at) * x0
    if not places:
        return x
    if len(places) == 1:
        weights = [0.5]
    else:  # sum of w_m r_m^(k-1) = k! phi_(k+1)(-h), by the series of phi
        wanted = [
            math.factorial(k) * sum((-h) ** j / math.factorial(j + k + 1) for j in range(40))
            for k in range(1, len(places) + 1)
        ]
        weights = np.linalg.solve([[place**k for place in places] for k in range(len(places))], wanted)
    return x + h * sum(w * move for w, move in zip(weights, moves, strict=True))


WALKS = {
    "Euler": euler, "Heun": heun, "DPM2": dpm2, "DPM++ 2M": dpmpp_2m, "LMS": lms, "PLMS": plms, "DDIM": euler,
    "IPNDM": ipndm, "IPNDM_V": ipndm_v, "DEIS": deis, "HeunPP2": heunpp2, "Gradient Estimation": gradient_estimation,
    "DDIM CFG++": cfgpp, "Euler CFG++": cfgpp, "UniPC": unipc,
}  # fmt: skip


def philox(seed, count):
    """The first draw of a seed: Philox 4x32-10 on (0, 0, index, 0) under the seed, Box and Muller's sine half."""
    made = []
    for index in range(count):
        c, key = [0, 0, index, 0], [seed & 0xFFFFFFFF, seed >> 32]
        for _ in range(10):
            one, two = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
            c = [two >> 32 ^ c[1] ^ key[0], two & 0xFFFFFFFF, one >> 32 ^ c[3] ^ key[1], one & 0xFFFFFFFF]
            key = [key[0] + 0x9E3779B9 & 0xFFFFFFFF, key[1] + 0xBB67AE85 & 0xFFFFFFFF]
        u, v = (c[0] + 0.5) / 2**32, (c[1] + 0.5) / 2**32
        made.append(math.sqrt(-2 * math.log(u)) * math.sin(2 * math.pi * v))
    return np.array(made)
