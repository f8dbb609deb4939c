"""The golden files of the engine's further operations; tools/golden_engine.py writes them with its own."""

import torch
import torch.nn.functional as F

from golden_file import Draw, File, with_gradients


def functions():
    """Functions of one number."""
    file = File("functions")
    for name, function in [
        ("exp", torch.exp),
        ("log", torch.log),
        ("sqrt", torch.sqrt),
        ("abs", torch.abs),
        ("tanh", torch.tanh),
        ("sigmoid", torch.sigmoid),
        ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
        ("clamp", lambda x: x.clamp(-0.75, 0.5)),
    ]:
        draw = Draw("functions", name)
        x = draw.positive(3, 37) if name in ("log", "sqrt") else draw.normal(3, 37, scale=2.0)
        file.case(name, with_gradients(draw, {"x": x}, function), function=name)
    return file


def maxima():
    files = []
    for name, function in [("maximum", torch.maximum), ("minimum", torch.minimum)]:
        file = File(name)
        for case, a, b in [("same", (3, 4, 5), (3, 4, 5)), ("channel", (2, 3, 4), (1, 3, 1)), ("left", (4, 1), (2, 4, 5))]:
            draw = Draw(name, case)
            file.case(case, with_gradients(draw, {"a": draw.normal(*a), "b": draw.normal(*b)}, function))
        draw = Draw(name, "ties")
        whole = lambda *shape: draw.normal(*shape).detach().round().requires_grad_()
        file.case("ties", with_gradients(draw, {"a": whole(6, 8), "b": whole(6, 8)}, function))
        files.append(file)
    return files


def norms():
    files = []
    for name, function in [("softmax", F.softmax), ("log_softmax_over", F.log_softmax)]:
        file = File(name)
        for case, shape, axis, scale in [
            ("last", (4, 10), 1, 1.0),
            ("first", (4, 10), 0, 2.0),
            ("middle", (2, 7, 3, 4), 1, 3.0),
            # Where one softmax is all but 1 its gradient in f32 is nothing but rounding.
            ("large", (3, 5), 1, 4.0 if name == "softmax" else 30.0),
        ]:
            draw = Draw(name, case)
            run = lambda x: function(x, dim=axis)
            file.case(case, with_gradients(draw, {"x": draw.normal(*shape, scale=scale)}, run), axis=axis)
        files.append(file)
    file = File("layer_norm")
    for case, shape, axes, eps in [("one_axis", (4, 10), 1, 1e-5), ("three_axes", (2, 3, 5, 7), 3, 1e-3), ("long", (3, 700), 1, 1e-5)]:
        draw = Draw("layer_norm", case)
        last = shape[-axes:]
        inputs = {"x": draw.normal(*shape), "w": draw.normal(*last), "b": draw.normal(*last)}
        file.case(case, with_gradients(draw, inputs, lambda x, w, b: F.layer_norm(x, last, w, b, eps)), eps=eps)
    return [*files, file]


def selections():
    """What takes parts of tensors and puts them together."""
    pad, cut, flip, concat = File("pad"), File("slice"), File("flip"), File("concat")
    for name, shape, before, after, value in [
        ("one", (1,), (2,), (3,), 0.25),
        ("uneven", (2, 3, 4, 5), (0, 1, 2, 0), (1, 0, 3, 2), -1.5),
        ("image", (2, 3, 5, 4), (0, 0, 1, 2), (0, 0, 2, 0), 0.0),
    ]:
        draw = Draw("pad", name)
        sides = [n for pair in zip(reversed(before), reversed(after)) for n in pair]
        tensors = with_gradients(draw, {"x": draw.normal(*shape)}, lambda x: F.pad(x, sides, value=value))
        pad.case(name, tensors, before=before, after=after, value=value)
    for name, shape, axis, start, end, step in [
        ("first", (5, 3), 0, 1, 4, 1),
        ("every_third", (2, 11, 3), 1, 1, 11, 3),
        ("last", (3, 8), 1, 0, 8, 2),
    ]:
        draw = Draw("slice", name)
        index = [slice(None)] * axis + [slice(start, end, step)]
        tensors = with_gradients(draw, {"x": draw.normal(*shape)}, lambda x: x[tuple(index)])
        cut.case(name, tensors, axis=axis, start=start, end=end, step=step)
    for name, shape, axis in [("middle", (2, 5, 3), 1), ("last", (2, 7), 1)]:
        draw = Draw("flip", name)
        flip.case(name, with_gradients(draw, {"x": draw.normal(*shape)}, lambda x: x.flip(axis)), axis=axis)
    for name, shapes, axis in [
        ("one", [(3, 4)], 1),
        ("first", [(2, 3), (4, 3)], 0),
        ("last", [(3, 2), (3, 1), (3, 5)], 1),
        ("middle", [(2, 3, 4), (2, 1, 4)], 1),
    ]:
        draw = Draw("concat", name)
        inputs = {key: draw.normal(*shape) for key, shape in zip("abc", shapes)}
        concat.case(name, with_gradients(draw, inputs, lambda *parts: torch.cat(parts, axis)), axis=axis)
    return pad, cut, flip, concat


def gathering():
    embedding, gather, each = File("embedding"), File("gather"), File("gather_elements")
    for name, shape, indices in [("one", (1, 1), (1,)), ("some", (7, 5), (3, 4)), ("repeated", (3, 4), (50,))]:
        draw = Draw("embedding", name)
        inputs = {"i": draw.integers(shape[0], *indices), "x": draw.normal(*shape)}
        embedding.case(name, with_gradients(draw, inputs, lambda i, x: F.embedding(i, x)))
    for name, shape, axis, indices in [("first", (5, 3), 0, (4,)), ("middle", (2, 5, 3), 1, (8,)), ("last", (3, 6), 1, (2,))]:
        draw = Draw("gather", name)
        inputs = {"x": draw.normal(*shape), "i": draw.integers(shape[axis], *indices)}
        tensors = with_gradients(draw, inputs, lambda x, i: torch.index_select(x, axis, i))
        gather.case(name, tensors, axis=axis)
    for name, shape, axis, count in [("first", (5, 3), 0, 7), ("middle", (2, 5, 3), 1, 4), ("last", (3, 6), 1, 1)]:
        draw = Draw("gather_elements", name)
        indices = [count if i == axis else n for i, n in enumerate(shape)]
        inputs = {"x": draw.normal(*shape), "i": draw.integers(shape[axis], *indices)}
        each.case(name, with_gradients(draw, inputs, lambda x, i: torch.gather(x, axis, i)), axis=axis)
    return embedding, gather, each


def losses():
    """Cross-entropy in all its forms; with f32 weights, and -100 for items without a class written as C."""
    file, nll = File("cross_entropy_with"), File("nll_loss")
    for name, shape, weighted, ignore, smoothing, reduction in [
        ("mean", (5, 4), False, None, 0.0, "mean"),
        ("weights", (5, 4), True, None, 0.0, "mean"),
        ("smoothed", (3, 5, 7), True, None, 0.2, "mean"),
        ("ignored", (3, 5, 7), True, 1, 0.0, "mean"),
        ("ignored_smoothed", (2, 3, 4, 5), True, 0, 0.1, "mean"),
        ("none", (6, 3, 4), True, 3, 0.1, "sum"),
        ("each", (2, 3, 4, 5), False, 2, 0.3, "none"),
        ("sum", (9, 6), False, None, 0.0, "sum"),
    ]:
        draw = Draw("cross_entropy_with", name)
        classes = shape[1]
        labels = draw.integers(classes + (ignore == classes), shape[0], *shape[2:])
        weights = draw.positive(classes).detach() if weighted else None
        # PyTorch takes no number for an item without a class that a class could have.
        number = -100 if ignore is None or ignore == classes else ignore
        seen = torch.where(labels == classes, -100, labels)
        inputs = {"x": draw.normal(*shape), "labels": labels}
        run = lambda x, labels: F.cross_entropy(x, seen, weights, ignore_index=number, reduction=reduction, label_smoothing=smoothing)
        extra = {"weights": weights} if weighted else {}
        parameters = {"ignore": -1 if ignore is None else ignore, "label_smoothing": smoothing, "reduction": reduction}
        file.case(name, with_gradients(draw, inputs, run) | extra, **parameters)
        if not smoothing:
            run = lambda x, labels: F.nll_loss(x, seen, weights, ignore_index=number, reduction=reduction)
            nll.case(name, with_gradients(draw, inputs, run) | extra, **parameters)
    for name, shape, weighted, smoothing, reduction in [
        ("soft", (5, 4), False, 0.0, "mean"),
        ("soft_weights", (2, 3, 4, 5), True, 0.1, "mean"),
        ("soft_each", (3, 5, 7), True, 0.0, "none"),
    ]:
        draw = Draw("cross_entropy_with", name)
        weights = draw.positive(shape[1]).detach() if weighted else None
        targets = draw.normal(*shape).detach().softmax(1).float().double().requires_grad_()
        inputs = {"x": draw.normal(*shape), "targets": targets}
        run = lambda x, targets: F.cross_entropy(x, targets, weights, reduction=reduction, label_smoothing=smoothing)
        extra = {"weights": weights} if weighted else {}
        parameters = {"ignore": -1, "label_smoothing": smoothing, "reduction": reduction}
        file.case(name, with_gradients(draw, inputs, run) | extra, **parameters)
    return file, nll


def pooling():
    average, ceil = File("avg_pool2d"), File("max_pool2d_ceil")
    for name, shape, kernel, stride, padding, rounded_up, counted in [
        ("2x2_odd", (2, 3, 7, 9), (2, 2), (2, 2), (0, 0), False, True),
        ("overlapping", (2, 2, 7, 8), (3, 3), (1, 1), (1, 1), False, False),
        ("counted", (2, 2, 6, 10), (3, 2), (1, 3), (1, 1), False, True),
        ("ceil", (1, 2, 6, 7), (3, 3), (2, 3), (1, 1), True, False),
        ("ceil_counted", (1, 2, 6, 7), (3, 3), (2, 3), (1, 1), True, True),
        ("ceil_without_padding", (2, 1, 5, 6), (2, 3), (2, 2), (0, 0), True, True),
    ]:
        draw = Draw("avg_pool2d", name)
        parameters = dict(kernel=kernel, stride=stride, padding=padding, ceil=rounded_up)
        run = lambda x: F.avg_pool2d(x, kernel, stride, padding, rounded_up, counted)
        average.case(name, with_gradients(draw, {"x": draw.normal(*shape)}, run), count_padding=counted, **parameters)
        run = lambda x: F.max_pool2d(x, kernel, stride, padding, ceil_mode=rounded_up)
        if rounded_up:
            ceil.case(name, with_gradients(draw, {"x": draw.normal(*shape)}, run), **parameters)
    return average, ceil


def other_ranks():
    """Batch norm of vectors, rows and volumes, and products of batches that broadcast."""
    norm, product = File("batch_norm_ranks"), File("matmul_broadcast")
    for name, shape, training in [
        ("vectors", (7, 5), True),
        ("rows", (3, 4, 9), True),
        ("volumes", (2, 3, 4, 5, 2), True),
        ("vectors_evaluated", (7, 5), False),
        ("rows_evaluated", (3, 4, 9), False),
    ]:
        draw = Draw("batch_norm_ranks", name)
        c = shape[1]
        inputs = {"x": draw.normal(*shape), "w": draw.normal(c), "b": draw.normal(c)}
        mean, var = draw.normal(c, grad=False), draw.positive(c).detach()
        before = {"mean_before": mean.clone(), "var_before": var.clone()}
        run = lambda x, w, b: F.batch_norm(x, mean, var, w, b, training, 0.1, 1e-5)
        tensors = with_gradients(draw, inputs, run)
        tensors |= before | ({"mean_after": mean, "var_after": var} if training else {})
        norm.case(name, tensors, training=training, eps=1e-5, momentum=0.1)
    for name, a, b in [
        ("one_a", (3, 4), (2, 5, 4, 3)),
        ("a_batch_of_one", (1, 3, 4), (5, 4, 2)),
        ("both", (3, 1, 4, 6), (1, 2, 6, 5)),
        ("one_b", (2, 3, 4, 6), (1, 1, 6, 5)),
    ]:
        draw = Draw("matmul_broadcast", name)
        product.case(name, with_gradients(draw, {"a": draw.normal(*a), "b": draw.normal(*b)}, torch.matmul))
    return norm, product


def optimisers():
    """Twelve steps of Adam with coupled weight decay, and of gradient descent with momentum."""
    file, steps = File("optimisers"), 12
    for name, make, parameters in [
        ("adam_coupled", torch.optim.Adam, {"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": 0.1}),
        ("sgd", torch.optim.SGD, {"lr": 0.1}),
        ("sgd_momentum", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
        ("sgd_nesterov", torch.optim.SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05}),
    ]:
        draw = Draw("optimisers", name)
        tensors = {"p0": draw.normal(4, 9, grad=False), "g": draw.normal(steps, 4, 9, grad=False)}
        parameter = torch.nn.Parameter(tensors["p0"].clone())
        optimiser = make([parameter], **parameters)
        for i in range(steps):
            parameter.grad = tensors["g"][i].clone()
            optimiser.step()
            if i in (0, steps - 1):
                tensors[f"p{i + 1}"] = parameter.detach().clone()
        file.case(name, tensors, steps=steps, **parameters)
    return [file]


def files():
    return [functions(), *maxima(), *norms(), *selections(), *gathering(), *losses(), *pooling(), *other_ranks(), *optimisers()]
