#!/usr/bin/env python3
"""Write the golden files of the engine: what PyTorch computes, for tests/golden_engine.rs to reproduce.

    python tools/golden_engine.py [--out tests/golden/engine]

One safetensors file per operation. Its header's `cases` is a JSON array with one object per case: its `name` and the
operation's parameters. The tensors of a case are named `<case>.<x|w|b|dy|y|dx|...>`. `dy` is the gradient that arrives
from above (random, not ones), `d<input>` the gradient with respect to that input. Inputs are f32; PyTorch computes in
f64 from them and the results are rounded to f32, so that the whole tolerance of the test belongs to the engine.

Versions: tools/requirements.txt. Seeds are fixed; the same versions give the same bytes.
"""

import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

import golden_operations
from golden_file import Draw, File, with_gradients
from notebook_model import Notebook, hashed_uniform


def conv2d():
    file = File("conv2d")
    # name, x, (out channels, kernel), stride, padding, dilation, groups, bias
    for name, x, out, kernel, stride, padding, dilation, groups, bias in [
        ("one", (1, 1, 1, 1), 1, (1, 1), (1, 1), (0, 0), (1, 1), 1, True),
        ("1x1", (2, 5, 6, 7), 9, (1, 1), (1, 1), (0, 0), (1, 1), 1, True),
        ("1x1_stride2", (2, 4, 7, 8), 6, (1, 1), (2, 2), (0, 0), (1, 1), 1, False),
        ("3x3", (2, 3, 8, 9), 5, (3, 3), (1, 1), (1, 1), (1, 1), 1, True),
        ("3x3_valid", (1, 3, 6, 5), 4, (3, 3), (1, 1), (0, 0), (1, 1), 1, False),
        ("3x3_stride2", (3, 8, 9, 11), 16, (3, 3), (2, 2), (1, 1), (1, 1), 1, True),
        ("3x3_stride2_even", (2, 8, 8, 12), 16, (3, 3), (2, 2), (1, 1), (1, 1), 1, True),
        ("5x5_stride2", (2, 2, 16, 21), 8, (5, 5), (2, 2), (2, 2), (1, 1), 1, True),
        ("5x5_pad3", (1, 2, 7, 6), 3, (5, 5), (1, 1), (3, 3), (1, 1), 1, False),
        ("3x5", (2, 3, 7, 10), 4, (3, 5), (1, 2), (1, 2), (1, 1), 1, True),
        ("5x1", (2, 3, 9, 4), 4, (5, 1), (2, 1), (2, 0), (1, 1), 1, True),
        ("2x4_even_kernel", (1, 2, 6, 9), 3, (2, 4), (1, 1), (1, 2), (1, 1), 1, True),
        ("7x7_stride3", (1, 3, 15, 16), 4, (7, 7), (3, 3), (3, 3), (1, 1), 1, True),
        ("dilation2", (2, 3, 9, 10), 4, (3, 3), (1, 1), (2, 2), (2, 2), 1, True),
        ("dilation_2_3_stride_2_1", (1, 4, 11, 12), 6, (3, 3), (2, 1), (2, 3), (2, 3), 1, False),
        ("groups2", (2, 4, 7, 7), 6, (3, 3), (1, 1), (1, 1), (1, 1), 2, True),
        ("depthwise", (2, 6, 8, 7), 6, (3, 3), (1, 1), (1, 1), (1, 1), 6, True),
        ("depthwise_x2_stride2", (1, 3, 9, 8), 6, (3, 3), (2, 2), (1, 1), (1, 1), 3, False),
        ("groups3_dilation2_stride2", (2, 6, 11, 10), 9, (3, 3), (2, 2), (2, 1), (2, 1), 3, True),
        ("stride_beyond_kernel", (1, 2, 9, 10), 3, (2, 2), (3, 4), (0, 0), (1, 1), 1, True),
        ("kernel_is_input", (2, 3, 5, 4), 7, (5, 4), (1, 1), (0, 0), (1, 1), 1, True),
        ("wide", (1, 33, 5, 6), 17, (3, 3), (1, 1), (1, 1), (1, 1), 1, True),
    ]:
        draw = Draw("conv2d", name)
        fan_in = x[1] // groups * kernel[0] * kernel[1]
        inputs = {"x": draw.normal(*x), "w": draw.normal(out, x[1] // groups, *kernel, scale=fan_in**-0.5)}
        if bias:
            inputs["b"] = draw.normal(out)
        run = lambda x, w, b=None: F.conv2d(x, w, b, stride, padding, dilation, groups)
        file.case(
            name,
            with_gradients(draw, inputs, run),
            stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias,
        )  # fmt: skip
    return file


def batch_norm():
    file = File("batch_norm2d")
    for name, shape, training, eps, momentum, offset in [
        ("train", (4, 3, 5, 6), True, 1e-5, 0.1, 0.0),
        ("train_one_channel", (2, 1, 3, 3), True, 1e-5, 0.1, 0.0),
        # With a small eps nothing is left of the gradient of two values: the terms cancel.
        ("train_two_values", (2, 4, 1, 1), True, 0.1, 0.1, 0.0),
        ("train_one_item", (1, 5, 7, 3), True, 1e-5, 0.1, 0.0),
        ("train_offset", (3, 2, 9, 11), True, 1e-3, 0.25, 10.0),
        ("train_wide", (4, 17, 4, 6), True, 1e-5, 0.1, 1.0),
        ("eval", (4, 3, 5, 6), False, 1e-5, 0.1, 0.0),
        ("eval_one", (1, 1, 1, 1), False, 1e-5, 0.1, 0.0),
        ("eval_wide", (2, 17, 3, 2), False, 1e-3, 0.1, 1.0),
    ]:
        draw = Draw("batch_norm2d", name)
        c = shape[1]
        x = torch.tensor(draw.normal(*shape).detach().numpy() * 1.5 + offset).float().double().requires_grad_()
        inputs = {"x": x, "w": draw.normal(c), "b": draw.normal(c)}
        mean, var = draw.normal(c, grad=False), draw.positive(c).detach()
        before = {"mean_before": mean.clone(), "var_before": var.clone()}
        run = lambda x, w, b: F.batch_norm(x, mean, var, w, b, training, momentum, eps)
        tensors = with_gradients(draw, inputs, run)
        tensors |= before | ({"mean_after": mean, "var_after": var} if training else {})
        file.case(name, tensors, training=training, eps=eps, momentum=momentum)
    return file


def relu():
    file = File("relu")
    for name, shape in [("one", (1,)), ("vector", (37,)), ("map", (2, 3, 5, 7))]:
        draw = Draw("relu", name)
        file.case(name, with_gradients(draw, {"x": draw.normal(*shape)}, F.relu))
    draw = Draw("relu", "zeros")
    x = torch.tensor([-1.0, 0.0, 1.0, -0.0, 0.0, 2.5], dtype=torch.float64, requires_grad=True)
    file.case("zeros", with_gradients(draw, {"x": x}, F.relu))
    return file


def pooling():
    adaptive, maximum = File("adaptive_avg_pool2d"), File("max_pool2d")
    for name, shape, output in [
        ("global", (3, 5, 4, 6), (1, 1)),
        ("one", (1, 1, 1, 1), (1, 1)),
        ("divides", (2, 3, 8, 6), (4, 3)),
        ("uneven", (2, 3, 7, 10), (3, 4)),
        ("overlapping", (1, 2, 5, 5), (4, 3)),
        ("same", (2, 2, 3, 4), (3, 4)),
        ("larger", (1, 2, 3, 2), (5, 7)),
        ("one_axis", (2, 4, 9, 5), (1, 5)),
    ]:
        draw = Draw("adaptive_avg_pool2d", name)
        run = lambda x: F.adaptive_avg_pool2d(x, output)
        adaptive.case(name, with_gradients(draw, {"x": draw.normal(*shape)}, run), output=output)
    for name, shape, kernel, stride, padding in [
        ("2x2", (2, 3, 6, 8), (2, 2), (2, 2), (0, 0)),
        ("2x2_odd", (2, 3, 7, 9), (2, 2), (2, 2), (0, 0)),
        ("3x3_overlapping", (2, 2, 7, 8), (3, 3), (1, 1), (1, 1)),
        ("3x3_stride2", (1, 4, 9, 10), (3, 3), (2, 2), (1, 1)),
        ("3x2_stride_1_3", (2, 2, 6, 10), (3, 2), (1, 3), (1, 0)),
        ("stride_beyond_kernel", (1, 3, 9, 8), (2, 2), (3, 3), (0, 0)),
        ("one", (1, 1, 1, 1), (1, 1), (1, 1), (0, 0)),
        ("whole", (2, 3, 4, 5), (4, 5), (1, 1), (0, 0)),
    ]:
        draw = Draw("max_pool2d", name)
        run = lambda x: F.max_pool2d(x, kernel, stride, padding)
        tensors = with_gradients(draw, {"x": draw.normal(*shape)}, run)
        maximum.case(name, tensors, kernel=kernel, stride=stride, padding=padding)
    return adaptive, maximum


def linear_and_matmul():
    linear, matmul, transpose = File("linear"), File("matmul"), File("transpose")
    for name, n, inputs, outputs, bias in [
        ("notebook", 4, 64, 10, True),
        ("one", 1, 1, 1, True),
        ("odd", 7, 13, 5, True),
        ("no_bias", 3, 17, 33, False),
    ]:
        draw = Draw("linear", name)
        tensors = {"x": draw.normal(n, inputs), "w": draw.normal(outputs, inputs, scale=inputs**-0.5)}
        if bias:
            tensors["b"] = draw.normal(outputs)
        linear.case(name, with_gradients(draw, tensors, F.linear), bias=bias)
    for name, a, b in [
        ("one", (1, 1), (1, 1)),
        ("square", (16, 16), (16, 16)),
        ("odd", (5, 13), (13, 7)),
        ("row", (1, 31), (31, 9)),
        ("column", (9, 31), (31, 1)),
        ("outer", (6, 1), (1, 11)),
        ("tall", (67, 5), (5, 3)),
        ("batched", (3, 5, 7), (3, 7, 4)),
        ("batched_twice", (2, 3, 4, 6), (2, 3, 6, 5)),
    ]:
        draw = Draw("matmul", name)
        scale = a[-1] ** -0.5
        tensors = with_gradients(draw, {"a": draw.normal(*a), "b": draw.normal(*b, scale=scale)}, torch.matmul)
        matmul.case(name, tensors)
    for name, shape, order in [
        ("2d", (5, 7), (1, 0)),
        ("last_two", (2, 3, 5), (0, 2, 1)),
        ("first_two", (4, 3, 5), (1, 0, 2)),
        ("rotate", (2, 3, 4, 5), (1, 2, 3, 0)),
        ("nchw_to_nhwc", (2, 3, 4, 5), (0, 2, 3, 1)),
        ("identity", (3, 4), (0, 1)),
    ]:
        draw = Draw("transpose", name)
        tensors = with_gradients(draw, {"x": draw.normal(*shape)}, lambda x: x.permute(order))
        transpose.case(name, tensors, order=order)
    return linear, matmul, transpose


def losses():
    entropy, softmax = File("cross_entropy"), File("log_softmax")
    for name, n, classes, smoothing, scale in [
        ("notebook", 4, 10, 0.0, 1.0),
        ("smoothed", 4, 10, 0.1, 1.0),
        ("one", 1, 1, 0.0, 1.0),
        ("one_item", 1, 8, 0.2, 1.0),
        ("large_logits", 5, 7, 0.0, 60.0),
        ("many", 33, 65, 0.05, 3.0),
    ]:
        draw = Draw("cross_entropy", name)
        inputs = {"x": draw.normal(n, classes, scale=scale), "labels": draw.labels(n, classes)}
        run = lambda x, labels: F.cross_entropy(x, labels, label_smoothing=smoothing)
        entropy.case(name, with_gradients(draw, inputs, run), label_smoothing=smoothing)
    for name, shape, scale in [
        ("notebook", (4, 10), 1.0),
        ("one", (1, 1), 1.0),
        ("large", (3, 5), 80.0),
        ("many", (9, 129), 2.0),
    ]:
        draw = Draw("log_softmax", name)
        run = lambda x: F.log_softmax(x, dim=-1)
        softmax.case(name, with_gradients(draw, {"x": draw.normal(*shape, scale=scale)}, run))
    return entropy, softmax


def element_wise():
    files = []
    pairs = [
        ("same", (3, 4, 5), (3, 4, 5)),
        ("one", (1,), (1,)),
        ("last_axis", (3, 4, 5), (5,)),
        ("channel", (2, 3, 4, 5), (1, 3, 1, 1)),
        ("scalar", (3, 4), (1,)),
        ("left_is_smaller", (4, 1), (2, 4, 5)),
        ("both", (3, 1, 5), (1, 4, 1)),
    ]
    for operation, function in [("add", torch.add), ("multiply", torch.mul)]:
        file = File(operation)
        for name, a, b in pairs:
            draw = Draw(operation, name)
            file.case(name, with_gradients(draw, {"a": draw.normal(*a), "b": draw.normal(*b)}, function))
        files.append(file)

    file = File("scale")
    for name, shape, factor in [("one", (1,), 3.0), ("shrink", (5, 7), -0.3), ("zero", (4,), 0.0)]:
        draw = Draw("scale", name)
        file.case(name, with_gradients(draw, {"x": draw.normal(*shape)}, lambda x: x * factor), factor=factor)
    files.append(file)

    for operation, function in [("sum", torch.sum), ("mean", torch.mean)]:
        file = File(operation)
        for name, shape, axes in [
            ("all", (3, 4, 5), (0, 1, 2)),
            ("one", (1,), (0,)),
            ("first", (4, 5), (0,)),
            ("last", (4, 5), (1,)),
            ("middle", (3, 7, 5), (1,)),
            ("per_channel", (2, 3, 4, 5), (0, 2, 3)),
            ("spatial", (2, 3, 4, 5), (2, 3)),
            ("long", (2, 3000), (1,)),
        ]:
            draw = Draw(operation, name)
            run = lambda x: function(x, dim=axes)
            file.case(name, with_gradients(draw, {"x": draw.normal(*shape)}, run), axes=axes)
        files.append(file)

    file = File("reshape")
    for name, shape, to in [("flatten", (2, 3, 4), (2, 12)), ("split", (6, 5), (2, 3, 5)), ("one", (1, 1, 1), (1,))]:
        draw = Draw("reshape", name)
        file.case(name, with_gradients(draw, {"x": draw.normal(*shape)}, lambda x: x.reshape(to)), to=to)
    files.append(file)

    file = File("dropout")
    for name, shape, p in [("half", (4, 16), 0.5), ("tenth", (2, 3, 5, 7), 0.1), ("none", (3, 4), 0.0)]:
        draw = Draw("dropout", name)
        mask = torch.tensor((draw.generator.uniform(size=shape) >= p).astype(np.float64))
        inputs = {"x": draw.normal(*shape), "mask": mask}
        file.case(name, with_gradients(draw, inputs, lambda x, mask: x * mask / (1 - p)), p=p)
    files.append(file)
    return files


def optimisers():
    clip, adam = File("clip_grad_norm"), File("adam")
    for name, shapes, max_norm in [
        ("above", [(3, 4), (7,), (2, 3, 3, 3)], 1.0),
        ("below", [(3, 4), (7,)], 100.0),
        ("one", [(1,)], 0.01),
    ]:
        draw = Draw("clip_grad_norm", name)
        gradients = [draw.normal(*s, grad=False) for s in shapes]
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for p, g in zip(parameters, gradients):
            p.grad = g.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        tensors = {f"g{i}": g for i, g in enumerate(gradients)}
        tensors |= {f"clipped{i}": p.grad for i, p in enumerate(parameters)} | {"norm": norm.reshape(1)}
        clip.case(name, tensors, max_norm=max_norm, count=len(shapes))

    steps = 12
    for name, lr, beta1, beta2, eps, decay in [
        ("default", [1e-3] * steps, [0.9] * steps, 0.999, 1e-8, 0.0),
        ("decay", [1e-2] * steps, [0.9] * steps, 0.99, 1e-8, 0.05),
        ("large_eps", [1e-1] * steps, [0.8] * steps, 0.95, 1e-2, 0.0),
        ("cycled", [1e-3 * (1 + i) for i in range(steps)], [0.95 - 0.1 * i / steps for i in range(steps)], 0.999, 1e-8, 0.0),
        ("cycled_decay", [1e-2 / (1 + i) for i in range(steps)], [0.85 + 0.1 * i / steps for i in range(steps)], 0.999, 1e-8, 0.1),
    ]:  # fmt: skip
        draw = Draw("adam", name)
        first = draw.normal(4, 9, grad=False)
        parameter = torch.nn.Parameter(first.clone())
        # torch.optim.Adam's coupled decay is in tools/golden_operations.py.
        optimiser = torch.optim.AdamW([parameter], lr=lr[0], betas=(beta1[0], beta2), eps=eps, weight_decay=decay)
        tensors = {"p0": first, "g": draw.normal(steps, 4, 9, grad=False)}
        for i in range(steps):
            optimiser.param_groups[0].update(lr=lr[i], betas=(beta1[i], beta2))
            parameter.grad = tensors["g"][i].clone()
            optimiser.step()
            if i in (0, steps - 1):
                tensors[f"p{i + 1}"] = parameter.detach().clone()
        state = optimiser.state[parameter]
        tensors |= {"m": state["exp_avg"], "v": state["exp_avg_sq"]}
        adam.case(name, tensors, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=decay, steps=steps)
    return clip, adam


def schedules():
    file = File("schedules")

    def record(name, total, make, **parameters):
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimiser = torch.optim.Adam([parameter], lr=parameters.get("lr", 1e-3), betas=(0.9, 0.999))
        schedule = make(optimiser)
        lr, beta1 = [], []
        for i in range(total):
            lr.append(optimiser.param_groups[0]["lr"])
            beta1.append(optimiser.param_groups[0]["betas"][0])
            parameter.grad = torch.zeros(1)
            optimiser.step()
            if i + 1 < total:
                schedule.step()
        file.case(name, {"f64_lr": np.array(lr), "f64_beta1": np.array(beta1)}, total=total, **parameters)

    for anneal in ("linear", "cos"):
        for total, max_lr, pct, div, final in [
            (1, 1e-3, 0.3, 25.0, 1e4),
            (3, 1e-3, 0.3, 25.0, 1e4),
            (20, 1e-3, 0.3, 25.0, 1e4),
            (97, 1e-3, 0.3, 25.0, 1e4),
            (200, 0.02, 0.45, 10.0, 100.0),
        ]:
            record(
                f"one_cycle_{anneal}_{total}",
                total,
                lambda o: torch.optim.lr_scheduler.OneCycleLR(
                    o, max_lr, total_steps=total, pct_start=pct, anneal_strategy=anneal, div_factor=div, final_div_factor=final
                ),
                kind="one_cycle", anneal=anneal, max_lr=max_lr, pct_start=pct, div_factor=div, final_div_factor=final,
                base_momentum=0.85, max_momentum=0.95,
            )  # fmt: skip
    for total, lr, low in [(10, 1e-3, 0.0), (57, 0.1, 1e-4)]:
        record(
            f"cosine_{total}",
            total,
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, total, eta_min=low),
            kind="cosine", lr=lr, min_lr=low, beta1=0.9,
        )  # fmt: skip
    record("constant", 5, lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0), kind="constant", lr=1e-3, beta1=0.9)
    return file


def classifier():
    """The notebook's classifier: 20 steps over five batches of 4 that repeat.

    Step s (from 0) trains on batch s % 5, whose inputs are hashed_uniform(seed = 100 + s % 5) in row-major order of
    [4, 2, 64, 86] and whose labels are stored.
    """
    file = File("classifier")
    torch.manual_seed(20)
    model = Notebook(10).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.float().double())
    steps, batches = 20, 5
    labels = torch.tensor([[(3 * i + b) % 8 for i in range(4)] for b in range(batches)])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps, anneal_strategy="linear")
    state = lambda: {k: v.clone() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    tensors = {f"before.{k}": v for k, v in state().items()} | {"labels": labels}
    losses = []
    for step in range(steps):
        x = torch.tensor(hashed_uniform(100 + step % batches, 4 * 2 * 64 * 86).reshape(4, 2, 64, 86)).double()
        optimiser.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, labels[step % batches])
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            tensors["logits"] = logits.detach()
            tensors |= {f"gradient.{k}": p.grad.clone() for k, p in model.named_parameters()}
        optimiser.step()
        if step + 1 < steps:
            schedule.step()
        if step + 1 in (1, steps):
            tensors |= {f"after{step + 1}.{k}": v for k, v in state().items()}
    print("classifier losses", " ".join(f"{l:.4f}" for l in losses))
    tensors["f64_losses"] = np.array(losses)
    file.case("notebook", tensors, steps=steps, batches=batches, batch=4, first_seed=100, max_lr=1e-3, anneal="linear")
    return file


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=here / "tests/golden/engine")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    files = [conv2d(), batch_norm(), relu(), *pooling(), *linear_and_matmul(), *losses(), *element_wise()]
    for file in [*files, *golden_operations.files(), *optimisers(), schedules(), classifier()]:
        file.save(arguments.out)


if __name__ == "__main__":
    main()
