"""ONNX nodes as operations of the engine, for tools/onnx_nodes.py.

A model's real inputs become inputs of a graph. Whatever does not depend on them (shapes, axes, scales) is a number that the
translation reads; indices are inputs of their own kind.
"""

import numpy as np

FLOATS = (np.float16, np.float32, np.float64)
# The engine's.
MAX_RANK = 6


class NotExpressible(Exception):
    """The engine has no such thing; the message says what."""


class Translation:
    """A graph under construction. A value of the engine is known by its name."""

    def __init__(self, arrays, expected):
        self.arrays, self.expected = arrays, expected
        self.inputs, self.tensors, self.steps = [], {}, []
        self.live, self.count = {}, 0

    def input(self, name, array):
        """An input of the graph with these contents: indices where they are whole numbers, else real numbers."""
        index = array.dtype.kind in "iu"
        if array.ndim > MAX_RANK:
            # Losses and reductions take the axes behind the first two together anyhow; whatever needs them apart says so.
            array = array.reshape(array.shape[0], -1)
        self.inputs.append({"name": name})
        self.tensors[name] = array.astype(np.uint32 if index else np.float64)
        return name

    def indices(self, array, bound):
        """Indices; negative ones count from the end."""
        array = np.asarray(array).astype(np.int64)
        if array.size and (array.min() < -bound or array.max() >= bound):
            raise NotExpressible("indices beyond the axis")
        return self.input(self.fresh(), np.where(array < 0, array + bound, array))

    def fresh(self):
        self.count += 1
        return f"v{self.count}"

    def step(self, op, *operands, results=1, **parameters):
        made = [self.fresh() for _ in range(results)]
        self.steps.append([op, list(operands), parameters, made])
        return made[0] if results == 1 else made

    def constant(self, array):
        array = np.asarray(array, np.float64)
        return self.step("constant", shape=array.shape, values=[plain(x) for x in array.ravel()])

    def value(self, name):
        """What the engine holds of an ONNX value; a constant where it depends on no input."""
        if name in self.live:
            return self.live[name]
        if self.arrays[name].dtype not in FLOATS and self.arrays[name].dtype != bool:
            raise NotExpressible("whole numbers as data")
        return self.constant(self.arrays[name])

    def shape(self, name):
        return self.arrays[name].shape

    def reshape(self, x, shape):
        if len(shape) > MAX_RANK:
            raise NotExpressible(f"tensors of more than {MAX_RANK} axes")
        return self.step("reshape", x, shape=[int(n) for n in shape])


def plain(x):
    return float(x) if np.isfinite(x) else str(float(x))


class Node:
    """A node of a model."""

    def __init__(self, proto, attributes):
        self.op, self.outputs, self.attributes = proto.op_type, list(proto.output), attributes
        self.inputs = list(proto.input)

    def has(self, i):
        return i < len(self.inputs) and self.inputs[i] != ""

    def get(self, key, otherwise=None):
        value = self.attributes.get(key, otherwise)
        return value.decode() if isinstance(value, bytes) else value

    def wants(self, i):
        return i < len(self.outputs) and self.outputs[i] != ""


def one(op):
    return lambda t, n: [t.step(op, t.value(n.inputs[0]))]


def fold(op):
    """An operation of two operands, over any number of them from the left."""

    def translate(t, n):
        x = t.value(n.inputs[0])
        for name in n.inputs[1:]:
            x = t.step(op, x, t.value(name))
        return [x if len(n.inputs) > 1 else same(t, x, t.shape(n.inputs[0]))]

    return translate


def same(t, x, shape):
    return t.reshape(x, shape)


def clip(t, n):
    bound = lambda i, none: plain(t.arrays[n.inputs[i]]) if n.has(i) else none
    low, high = bound(1, plain(n.get("min", -np.inf))), bound(2, plain(n.get("max", np.inf)))
    return [t.step("clamp", t.value(n.inputs[0]), low=low, high=high)]


def mean_of(t, n):
    return [t.step("scale", fold("add")(t, n)[0], factor=1 / len(n.inputs))]


def axes_of(t, n, rank):
    axes = t.arrays[n.inputs[1]].tolist() if n.has(1) else n.get("axes")
    if axes is None or len(axes) == 0:
        return [] if n.get("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(a % rank for a in axes)


def reduction(before, op, after=None):
    def translate(t, n):
        x, shape = t.value(n.inputs[0]), t.shape(n.inputs[0])
        axes, keep = axes_of(t, n, len(shape)), bool(n.get("keepdims", 1))
        if before == "abs":
            x = t.step("abs", x)
        elif before == "square":
            x = t.step("multiply", x, x)
        elif before == "negative":
            x = t.step("scale", x, factor=-1.0)
        top = None
        if before == "exp":
            top = t.step("amax", x, axes=axes, keep=True)
            x = t.step("exp", t.step("subtract", x, top))
        y = t.step(op, x, axes=axes, keep=keep) if axes else same(t, x, shape)
        if after == "negative":
            y = t.step("scale", y, factor=-1.0)
        elif after:
            y = t.step(after, y)
        if top:
            y = t.step("add", y, t.reshape(top, t.shape(n.outputs[0])))
        return [y]

    return translate


def gemm(t, n):
    def factor(i, transposed):
        x = t.value(n.inputs[i])
        return t.step("permute", x, order=[1, 0]) if n.get(transposed, 0) else x

    y = t.step("matmul", factor(0, "transA"), factor(1, "transB"))
    if n.get("alpha", 1.0) != 1.0:
        y = t.step("scale", y, factor=n.get("alpha"))
    if n.has(2):
        c = t.value(n.inputs[2])
        y = t.step("add", y, t.step("scale", c, factor=n.get("beta", 1.0)))
    return [y]


def windows(n, shape, kernel):
    """Strides, dilations and the padding before and behind each axis of an image."""
    axes = len(kernel)
    stride, dilation = n.get("strides", [1] * axes), n.get("dilations", [1] * axes)
    pads = n.get("pads", [0] * 2 * axes)
    before, after = list(pads[:axes]), list(pads[axes:])
    if n.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        for i, size in enumerate(shape[2:]):
            total = max((-(-size // stride[i]) - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - size, 0)
            small, large = total // 2, total - total // 2
            before[i], after[i] = (small, large) if n.get("auto_pad") == "SAME_UPPER" else (large, small)
    return list(stride), list(dilation), before, after


def image(t, x, shape, *lists):
    """Rows become images of one row, and each list gets an entry for the new axis."""
    if len(shape) == 3:
        x, shape = t.reshape(x, [shape[0], shape[1], 1, shape[2]]), (shape[0], shape[1], 1, shape[2])
        for values, new in lists:
            values.insert(0, new)
    if len(shape) != 4:
        raise NotExpressible(f"images of {len(shape) - 2} axes")
    return x, shape


def padded(t, x, before, after, value):
    return t.step("pad", x, before=[0, 0, *before], after=[0, 0, *after], value=plain(value))


def conv(t, n):
    x, w, shape = t.value(n.inputs[0]), t.value(n.inputs[1]), t.shape(n.inputs[0])
    kernel = list(t.shape(n.inputs[1])[2:])
    stride, dilation, before, after = windows(n, shape, kernel)
    x, shape = image(t, x, shape, (kernel, 1), (stride, 1), (dilation, 1), (before, 0), (after, 0))
    if before != after:
        x, before = padded(t, x, before, after, 0.0), [0, 0]
    bias = [t.value(n.inputs[2])] if n.has(2) else []
    y = t.step("conv2d", x, w, *bias, stride=stride, padding=before, dilation=dilation, groups=n.get("group", 1))
    return [t.reshape(y, t.shape(n.outputs[0]))]


def pool(t, n):
    if n.wants(1):
        raise NotExpressible("the places of maxima as an output")
    x, shape, kernel = t.value(n.inputs[0]), t.shape(n.inputs[0]), list(n.get("kernel_shape"))
    stride, dilation, before, after = windows(n, shape, kernel)
    x, shape = image(t, x, shape, (kernel, 1), (stride, 1), (dilation, 1), (before, 0), (after, 0))
    ceil, average = bool(n.get("ceil_mode", 0)), n.op == "AveragePool"
    share = None
    # Other padding than the engine's: the same on both sides, and no more than half a window.
    if before != after or any(2 * p > k for p, k in zip(before, kernel)):
        if average and not n.get("count_include_pad", 0):
            share = padded(t, t.constant(np.ones((1, 1, *shape[2:]))), before, after, 0.0)
        x, before = padded(t, x, before, after, 0.0 if average else -np.inf), [0, 0]
    sizes = dict(kernel=kernel, stride=stride, padding=before, dilation=dilation, ceil=ceil)
    if not average:
        y = t.step("max_pool2d", x, **sizes)
    else:
        sizes["count_include_pad"] = bool(n.get("count_include_pad", 0))
        y = t.step("avg_pool2d", x, **sizes)
        if share:
            y = t.step("divide", y, t.step("avg_pool2d", share, **sizes))
    return [t.reshape(y, t.shape(n.outputs[0]))]


def global_pool(t, n):
    x, rank = t.value(n.inputs[0]), len(t.shape(n.inputs[0]))
    if n.op == "GlobalAveragePool" and rank == 4:
        return [t.step("adaptive_avg_pool2d", x, output=[1, 1])]
    op = "amax" if n.op == "GlobalMaxPool" else "mean"
    return [t.step(op, x, axes=list(range(2, rank)), keep=True)]


def batch_norm(t, n):
    operands = [t.value(name) for name in n.inputs]
    epsilon = n.get("epsilon", 1e-5)
    if not n.get("training_mode", 0):
        return [t.step("batch_norm_evaluate", *operands, epsilon=epsilon)]
    return t.step("batch_norm", *operands, results=3, epsilon=epsilon, momentum=1 - n.get("momentum", 0.9))


def standardised(t, x, axes, epsilon):
    """x less its mean, the mean, and `1 / sqrt(variance + epsilon)`."""
    mean = t.step("mean", x, axes=axes, keep=True)
    centred = t.step("subtract", x, mean)
    variance = t.step("mean", t.step("multiply", centred, centred), axes=axes, keep=True)
    deviation = t.step("sqrt", t.step("add", variance, t.constant(epsilon)))
    return centred, mean, t.step("divide", t.constant(1.0), deviation)


def layer_norm(t, n):
    x, shape = t.value(n.inputs[0]), t.shape(n.inputs[0])
    axis, epsilon = n.get("axis", -1) % len(shape), n.get("epsilon", 1e-5)
    bias = t.value(n.inputs[2]) if n.has(2) else t.constant(np.zeros(shape[axis:]))
    made = [t.step("layer_norm", x, t.value(n.inputs[1]), bias, epsilon=epsilon)]
    if n.wants(1) or n.wants(2):
        made += standardised(t, x, list(range(axis, len(shape))), epsilon)[1:]
    return made


def rms_norm(t, n):
    x, shape = t.value(n.inputs[0]), t.shape(n.inputs[0])
    axes = list(range(n.get("axis", -1) % len(shape), len(shape)))
    square = t.step("mean", t.step("multiply", x, x), axes=axes, keep=True)
    root = t.step("sqrt", t.step("add", square, t.constant(n.get("epsilon", 1e-5))))
    return [t.step("multiply", t.step("divide", x, root), t.value(n.inputs[1]))]


def grouped_norm(t, n):
    x, shape = t.value(n.inputs[0]), t.shape(n.inputs[0])
    groups = n.get("num_groups", shape[1])
    flat = t.reshape(x, [shape[0], groups, int(np.prod(shape[1:])) // groups])
    centred, _, inverse = standardised(t, flat, [2], n.get("epsilon", 1e-5))
    y = t.reshape(t.step("multiply", centred, inverse), shape)
    channel = [1, shape[1], *[1] * (len(shape) - 2)]
    y = t.step("multiply", y, t.reshape(t.value(n.inputs[1]), channel))
    return [t.step("add", y, t.reshape(t.value(n.inputs[2]), channel))]


def softmax(op):
    return lambda t, n: [t.step(op, t.value(n.inputs[0]), axis=n.get("axis", -1) % len(t.shape(n.inputs[0])))]


def loss(op):
    def translate(t, n):
        x, shape, labels = t.value(n.inputs[0]), t.shape(n.inputs[0]), t.arrays[n.inputs[1]]
        items = [shape[0], int(np.prod(shape[2:]))] if len(shape) > 2 else [shape[0]]
        flat = t.reshape(x, [*items[:1], shape[1], *items[1:]])
        ignore = n.get("ignore_index")
        if ignore is not None and not 0 <= ignore < shape[1]:
            labels, ignore = np.where(labels == ignore, shape[1], labels), shape[1]
        indices = t.input(t.fresh(), labels.reshape(items).astype(np.int64))
        weights = [t.value(n.inputs[2])] if n.has(2) else []
        y = t.step(op, flat, indices, *weights, ignore=ignore, reduction=n.get("reduction", "mean"))
        made = [t.reshape(y, t.shape(n.outputs[0]))]
        if n.wants(1):
            made.append(t.reshape(t.step("log_softmax", flat, axis=1), shape))
        return made

    return translate


def pad(t, n):
    x, shape = t.value(n.inputs[0]), t.shape(n.inputs[0])
    pads = t.arrays[n.inputs[1]].tolist() if n.has(1) else n.get("pads")
    axes = t.arrays[n.inputs[3]].tolist() if n.has(3) else list(range(len(shape)))
    value = float(t.arrays[n.inputs[2]].reshape(())) if n.has(2) else 0.0
    if n.get("mode", "constant") != "constant":
        raise NotExpressible(f"padding by {n.get('mode')}")
    before, after = [0] * len(shape), [0] * len(shape)
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    if min(before + after) < 0:
        raise NotExpressible("negative padding")
    return [t.step("pad", x, before=before, after=after, value=plain(value))]


def cut(t, n):
    x, shape = t.value(n.inputs[0]), t.shape(n.inputs[0])
    starts, ends = t.arrays[n.inputs[1]].tolist(), t.arrays[n.inputs[2]].tolist()
    axes = t.arrays[n.inputs[3]].tolist() if n.has(3) else list(range(len(starts)))
    steps = t.arrays[n.inputs[4]].tolist() if n.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        axis %= len(shape)
        places = range(shape[axis])[slice(start, end, step)]
        first, last = (places[0], places[-1] + 1) if len(places) else (0, 0)
        if step < 0 and len(places):
            x = t.step("flip", x, axis=axis)
            first, last = shape[axis] - 1 - places[0], shape[axis] - places[-1]
        x = t.step("slice", x, axis=axis, start=first, end=last, step=abs(step))
    return [x]


def split(t, n):
    x, axis, start, made = t.value(n.inputs[0]), n.get("axis", 0), 0, []
    axis %= len(t.shape(n.inputs[0]))
    for output in n.outputs:
        end = start + t.shape(output)[axis]
        made.append(t.step("slice", x, axis=axis, start=start, end=end, step=1))
        start = end
    return made


def concat(t, n):
    axis = n.get("axis") % len(t.shape(n.inputs[0]))
    return [t.step("concat", *[t.value(name) for name in n.inputs], axis=axis)]


def gather(op):
    def translate(t, n):
        axis = n.get("axis", 0) % len(t.shape(n.inputs[0]))
        indices = t.indices(t.arrays[n.inputs[1]], t.shape(n.inputs[0])[axis])
        return [t.step(op, t.value(n.inputs[0]), indices, axis=axis)]

    return translate


def one_hot(t, n):
    depth, rank = int(t.arrays[n.inputs[1]].reshape(())), len(t.shape(n.inputs[0])) + 1
    y = t.step("one_hot", t.indices(t.arrays[n.inputs[0]], depth), classes=depth)
    order = list(range(rank - 1))
    order.insert(n.get("axis", -1) % rank, rank - 1)
    values = t.value(n.inputs[2])
    off, on = [t.step("slice", values, axis=0, start=i, end=i + 1, step=1) for i in range(2)]
    y = t.step("multiply", t.step("permute", y, order=order), t.step("subtract", on, off))
    return [t.step("add", y, off)]


def reshaped(t, n):
    return [t.reshape(t.value(n.inputs[0]), t.shape(n.outputs[0]))]


def expand(t, n):
    return [t.step("expand", t.value(n.inputs[0]), shape=list(t.shape(n.outputs[0])))]


def tile(t, n):
    x = t.value(n.inputs[0])
    for axis, repeats in enumerate(t.arrays[n.inputs[1]].tolist()):
        x = t.step("concat", *[x] * repeats, axis=axis)
    return [x]


def transpose(t, n):
    rank = len(t.shape(n.inputs[0]))
    return [t.step("permute", t.value(n.inputs[0]), order=n.get("perm", list(reversed(range(rank)))))]


def blocks(t, n):
    """DepthToSpace and SpaceToDepth."""
    x, (b, c, h, w), s = t.value(n.inputs[0]), t.shape(n.inputs[0]), n.get("blocksize")
    if n.op == "SpaceToDepth":
        split_up, order = [b, c, h // s, s, w // s, s], [0, 3, 5, 1, 2, 4]
    elif n.get("mode", "DCR") == "DCR":
        split_up, order = [b, s, s, c // s**2, h, w], [0, 3, 4, 1, 5, 2]
    else:
        split_up, order = [b, c // s**2, s, s, h, w], [0, 1, 4, 2, 5, 3]
    y = t.step("permute", t.reshape(x, split_up), order=order)
    return [t.reshape(y, t.shape(n.outputs[0]))]


def where(t, n):
    mask, x, y = (t.value(name) for name in n.inputs)
    other = t.step("subtract", t.constant(1.0), mask)
    return [t.step("add", t.step("keep", x, mask), t.step("keep", y, other))]


def cast(t, n):
    if t.arrays[n.outputs[0]].dtype not in FLOATS:
        raise NotExpressible("a change of type")
    return [same(t, t.value(n.inputs[0]), t.shape(n.outputs[0]))]


def dropout(t, n):
    x, shape = t.value(n.inputs[0]), t.shape(n.inputs[0])
    training = bool(t.arrays[n.inputs[2]]) if n.has(2) else False
    ratio = float(t.arrays[n.inputs[1]]) if n.has(1) else n.get("ratio", 0.5)
    if not training or ratio == 0.0:
        return [same(t, x, shape), t.constant(np.ones(shape))]
    if not n.wants(1):
        raise NotExpressible("the random numbers of ONNX")
    # The engine's masks come from outside.
    mask = t.input(t.fresh(), t.expected[n.outputs[1]].astype(np.float64))
    return [t.step("dropout", x, mask, p=ratio), t.reshape(mask, shape)]


def optimiser(t, n):
    rate, number = (float(t.arrays[name].reshape(())) for name in n.inputs[:2])
    kinds = 4 if n.op == "Adam" else 3
    count = (len(n.inputs) - 2) // kinds
    alpha, beta, decay = n.get("alpha", 0.9), n.get("beta", 0.999), n.get("norm_coefficient", 0.0)
    if n.op == "Adam" and number > 0:
        rate *= (1 - beta**number) ** 0.5 / (1 - alpha**number)
    made = [[] for _ in range(kinds - 1)]
    for i in range(count):
        names = n.inputs[2 + i :: count]
        x, g, *moments = (t.reshape(t.value(name), [t.arrays[name].size]) for name in names)
        if n.op == "Adam":
            g = t.step("add", g, t.step("scale", x, factor=decay))
            numbers = t.constant([rate, 1 - alpha, beta, 1 - beta, n.get("epsilon", 1e-6), 1.0])
            new = t.step("adam", x, *moments, g, numbers, results=3)
        else:
            # How much a gradient counts is part of it here.
            g = t.step("scale", t.step("add", g, t.step("scale", x, factor=decay)), factor=beta if number > 0 else 1.0)
            numbers = t.constant([rate, alpha, 0.0])
            new = t.step("sgd", x, *moments, g, numbers, results=2, nesterov=n.get("mode") == "nesterov")
        for kind, value in zip(made, new):
            kind.append(t.reshape(value, t.arrays[names[0]].shape))
    return [value for kind in made for value in kind]


def leaky(t, n):
    x = t.value(n.inputs[0])
    slope = t.value(n.inputs[1]) if n.op == "PRelu" else t.constant(n.get("alpha", 0.01))
    below = t.step("multiply", t.step("minimum", x, t.constant(0.0)), slope)
    return [t.step("add", t.step("relu", x), below)]


def elu(t, n):
    x = t.value(n.inputs[0])
    alpha = n.get("alpha", 1.67326319217681884765625 if n.op == "Selu" else 1.0)
    gamma = n.get("gamma", 1.05070102214813232421875) if n.op == "Selu" else 1.0
    below = t.step("minimum", x, t.constant(0.0))
    if n.op == "Celu":
        below = t.step("scale", below, factor=1 / alpha)
    bent = t.step("subtract", t.step("exp", below), t.constant(1.0))
    return [t.step("scale", t.step("add", t.step("relu", x), t.step("scale", bent, factor=alpha)), factor=gamma)]


def softplus_of(t, x):
    """`max(x, 0) + log(1 + exp(-|x|))`, which never overflows."""
    small = t.step("exp", t.step("scale", t.step("abs", x), factor=-1.0))
    return t.step("add", t.step("relu", x), t.step("log", t.step("add", small, t.constant(1.0))))


def softplus(t, n):
    return [softplus_of(t, t.value(n.inputs[0]))]


def mish(t, n):
    x = t.value(n.inputs[0])
    return [t.step("multiply", x, t.step("tanh", softplus_of(t, x)))]


def softsign(t, n):
    x = t.value(n.inputs[0])
    return [t.step("divide", x, t.step("add", t.step("abs", x), t.constant(1.0)))]


def hard(t, n):
    alpha, beta = (1 / 6, 0.5) if n.op == "HardSwish" else (n.get("alpha", 0.2), n.get("beta", 0.5))
    x = t.value(n.inputs[0])
    y = t.step("clamp", t.step("add", t.step("scale", x, factor=alpha), t.constant(beta)), low=0.0, high=1.0)
    return [t.step("multiply", x, y) if n.op == "HardSwish" else y]


def swish(t, n):
    x = t.value(n.inputs[0])
    return [t.step("multiply", x, t.step("sigmoid", t.step("scale", x, factor=n.get("alpha", 1.0))))]


def negative(t, n):
    return [t.step("scale", t.value(n.inputs[0]), factor=-1.0)]


def reciprocal(t, n):
    return [t.step("divide", t.constant(1.0), t.value(n.inputs[0]))]


OPERATORS = {
    "Exp": one("exp"), "Log": one("log"), "Sqrt": one("sqrt"), "Abs": one("abs"), "Tanh": one("tanh"),
    "Sigmoid": one("sigmoid"), "Relu": one("relu"), "Clip": clip, "Neg": negative, "Reciprocal": reciprocal,
    "Gelu": lambda t, n: [t.step("gelu_tanh" if n.get("approximate") == "tanh" else "gelu", t.value(n.inputs[0]))],
    "Add": fold("add"), "Sub": fold("subtract"), "Mul": fold("multiply"), "Div": fold("divide"), "Equal": fold("equal"),
    "Max": fold("maximum"), "Min": fold("minimum"), "Sum": fold("add"), "Mean": mean_of, "MatMul": fold("matmul"),
    "Gemm": gemm, "Conv": conv, "MaxPool": pool, "AveragePool": pool, "GlobalMaxPool": global_pool,
    "GlobalAveragePool": global_pool, "BatchNormalization": batch_norm, "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm, "InstanceNormalization": grouped_norm, "GroupNormalization": grouped_norm,
    "Softmax": softmax("softmax"), "LogSoftmax": softmax("log_softmax"),
    "SoftmaxCrossEntropyLoss": loss("cross_entropy"), "NegativeLogLikelihoodLoss": loss("nll_loss"),
    "ReduceSum": reduction(None, "sum"), "ReduceMean": reduction(None, "mean"), "ReduceMax": reduction(None, "amax"),
    "ReduceMin": reduction("negative", "amax", "negative"), "ReduceL1": reduction("abs", "sum"),
    "ReduceL2": reduction("square", "sum", "sqrt"), "ReduceSumSquare": reduction("square", "sum"),
    "ReduceLogSum": reduction(None, "sum", "log"), "ReduceLogSumExp": reduction("exp", "sum", "log"),
    "Pad": pad, "Slice": cut, "Split": split, "Concat": concat, "Gather": gather("gather"),
    "GatherElements": gather("gather_elements"), "OneHot": one_hot, "Reshape": reshaped, "Flatten": reshaped,
    "Squeeze": reshaped, "Unsqueeze": reshaped, "Identity": reshaped, "Expand": expand, "Tile": tile,
    "Transpose": transpose, "DepthToSpace": blocks, "SpaceToDepth": blocks, "Where": where, "Cast": cast,
    "CastLike": cast, "Dropout": dropout, "Adam": optimiser, "Momentum": optimiser, "LeakyRelu": leaky, "PRelu": leaky,
    "Elu": elu, "Selu": elu, "Celu": elu, "Softplus": softplus, "Softsign": softsign, "Mish": mish, "HardSigmoid": hard,
    "HardSwish": hard, "Swish": swish,
}  # fmt: skip
