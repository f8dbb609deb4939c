#!/usr/bin/env python3
"""Run ONNX's node tests on the engine: on the CPU in f32 and in f64, and on a GPU where there is one.

    tools/onnx_nodes.py [--filter TEXT] [--verbose] [--no-gpu] [--release]

Makes a virtual environment with the pinned onnx (whose node tests come with their data) beside the build's other results,
translates every test that consists of operators which tools/onnx_translate.py knows, has examples/onnx_node.rs run them,
and prints how many passed, failed, were refused by the engine, or cannot be expressed, by operator. A test passes where
every output on every device has the expected shape and is within the tolerance that onnx sets for it (1e-3 of the value, and
1e-7, if it says nothing else). Exit code 1 where one fails that is not in DIFFERENCES.
"""

import argparse
import collections
import fnmatch
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import own_environment

ROOT = pathlib.Path(__file__).resolve().parent.parent
REQUIREMENTS = ["ml_dtypes==0.5.4", "numpy==2.2.6", "onnx==1.19.0", "protobuf==6.33.0", "safetensors==0.8.0", "typing_extensions==4.15.0"]

# Outputs that differ because the engine, like PyTorch, defines something otherwise, or because ONNX is at fault.
DIFFERENCES = {
    "test_batchnorm_*_training_mode": (
        ["output_var"],
        "the running variance moves towards the unbiased variance, as in PyTorch; in ONNX towards the biased",
    ),
    "test_adam_multiple": (
        ["X1_new", "X2_new"],
        "what ONNX expects was made with an epsilon of 0.01, which the node does not say (its default is 1e-6)",
    ),
}

# What tests are counted under that need an operator for which there is no translation.
LACKING = "operators that the engine lacks"


class Case:
    """One node test."""

    def __init__(self, test):
        import onnx

        self.name, self.rtol, self.atol = test.name, test.rtol, test.atol
        self.folder = pathlib.Path(test.model_dir)
        self.model = onnx.load(self.folder / "model.onnx")
        self.ops = [node.op_type for node in self.model.graph.node]

    def tensors(self, kind, values):
        """The first set of inputs or outputs, by name. An input that is left out has no file of its own, nor a name."""
        import onnx
        from onnx_translate import NotExpressible

        found = {}
        for i, value in enumerate(values):
            if not value.type.HasField("tensor_type"):
                raise NotExpressible("sequences and optional values")
            data = (self.folder / f"test_data_set_0/{kind}_{i}.pb").read_bytes()
            found[value.name] = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(data))
        return found

    def load(self):
        graph = self.model.graph
        return self.tensors("input", graph.input), self.tensors("output", graph.output)


def translate(model, inputs, expected):
    """The model as a graph of the engine."""
    import numpy as np
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnx_translate import FLOATS, MAX_RANK, OPERATORS, Node, NotExpressible, Translation

    arrays = {**inputs, **expected}
    initial = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    arrays |= initial
    if len(model.graph.node) > 1:
        # What stands between the nodes: shapes, axes and other numbers are read from it, and only they.
        try:
            arrays = ReferenceEvaluator(model).run(None, inputs, intermediate=True) | arrays
        except Exception as error:  # Whatever an operator of onnx's own evaluator raises.
            raise NotExpressible(f"onnx's own evaluator fails: {' '.join(str(error).split())[:80]}")
    t = Translation(arrays, expected)
    for name, array in inputs.items():
        if array.ndim > MAX_RANK and len(model.graph.node) > 1:
            raise NotExpressible(f"tensors of more than {MAX_RANK} axes")
        if array.dtype in FLOATS:
            t.live[name] = t.input(name, array)
    for proto in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        node = Node(proto, attributes)
        depends = any(name in t.live for name in node.inputs) and node.op not in ("Shape", "Size")
        if not depends:
            missing = [name for name in node.outputs if name and name not in arrays]
            if missing:
                raise NotExpressible(f"{node.op} whose result is not known")
            continue
        if node.op not in OPERATORS:
            raise NotExpressible(f"operator {node.op}")
        for name, value in zip(node.outputs, OPERATORS[node.op](t, node)):
            t.live[name] = value
    outputs = [value.name for value in model.graph.output]
    lacking = [name for name in outputs if name not in t.live]
    if lacking:
        raise NotExpressible("whole numbers or truth values as data" if len(lacking) == len(outputs) else f"output {lacking[0]}")
    if any(array.dtype not in FLOATS and array.dtype != bool for array in expected.values()):
        raise NotExpressible("whole numbers as a result")
    return t, {name: t.live[name] for name in outputs}


def operator_of(case, cases):
    """What a test is counted under: its node's operator, or that of the test whose expansion into other operators it is."""
    base = re.sub(r"(_ver\d+)?_expanded.*$", "", case.name)
    ops = cases[base].ops if base in cases else case.ops
    return (ops[0] if len(set(ops)) == 1 else "+".join(ops)[:40]) + (" (expanded)" if base != case.name else "")


def judge(case, expected, outputs, results, devices):
    """What is wrong with what the devices made, if anything: outputs, and how they differ."""
    import numpy as np

    wrong = []
    for device in devices:
        for name, value in outputs.items():
            made, wanted = results[f"{case.name}/{device}/{value}"], expected[name]
            if made.shape != wanted.shape:
                wrong.append((name, f"{device}, {name}: shape {list(made.shape)} instead of {list(wanted.shape)}"))
                continue
            made = made != 0 if wanted.dtype == bool else made.astype(wanted.dtype)
            try:
                np.testing.assert_allclose(made, wanted, rtol=case.rtol, atol=case.atol)
            except AssertionError as error:
                wrong.append((name, f"{device}, {name}: " + " ".join(str(error).split())))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="only tests whose name contains this")
    parser.add_argument("--verbose", action="store_true", help="say of each test what became of it")
    parser.add_argument("--no-gpu", action="store_true", help="on the CPU only")
    parser.add_argument("--release", action="store_true", help="build the engine optimised")
    arguments = parser.parse_args()
    own_environment.enter("onnx-nodes", REQUIREMENTS, __file__)

    import numpy as np
    from onnx.backend.test.loader import load_model_tests
    from onnx_translate import NotExpressible
    from safetensors.numpy import load_file, save_file

    cases = {test.name: Case(test) for test in load_model_tests(kind="node")}
    what, graphs, tensors, running = {}, [], {}, []
    for name, case in cases.items():
        if arguments.filter not in name:
            continue
        try:
            inputs, expected = case.load()
            t, outputs = translate(case.model, inputs, expected)
        except NotExpressible as reason:
            what[name] = ("not expressible", str(reason))
            continue
        graphs.append({"name": name, "inputs": t.inputs, "steps": t.steps, "outputs": sorted(set(outputs.values()))})
        tensors |= {f"{name}/{key}": np.array(array, order="C") for key, array in t.tensors.items()}
        running.append((case, expected, outputs))
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder) / name for name in ("graphs.json", "tensors", "results")]
        files[0].write_text(json.dumps(graphs))
        save_file(tensors, files[1])
        devices = ["f32", "f64"] if arguments.no_gpu else ["f32", "f64", "gpu"]
        command = ["cargo", "run", "--quiet", "--locked", *["--release"][: arguments.release], "--example", "onnx_node", "--"]
        command += [*map(str, files), *devices]
        said = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout
        results = load_file(files[2])
    refused = collections.defaultdict(list)
    for line in said.splitlines():
        name, device, message = line.split("\t")
        refused[name].append(f"{device}: {message}")
    for case, expected, outputs in running:
        name = case.name
        if name in refused:
            what[name] = ("refused", "; ".join(refused[name]))
            continue
        wrong = judge(case, expected, outputs, results, devices)
        outputs_that_may, difference = next((v for k, v in DIFFERENCES.items() if fnmatch.fnmatch(name, k)), ([], ""))
        if wrong and all(output in outputs_that_may for output, _ in wrong):
            what[name] = ("differs", difference)
        else:
            what[name] = ("failed", "; ".join(how for _, how in wrong)) if wrong else ("passed", "")
    sys.exit(report(cases, what, arguments.verbose))


def report(cases, what, verbose):
    """Prints the table; returns the exit code."""
    from onnx_translate import OPERATORS

    kinds = ("passed", "failed", "differs", "refused", "not expressible")
    table = collections.defaultdict(collections.Counter)
    for name, (kind, why) in sorted(what.items()):
        operator = operator_of(cases[name], cases)
        known = kind != "not expressible" or all(op in OPERATORS for op in cases[name].ops)
        table[operator if known else LACKING][kind] += 1
        if verbose or (kind not in ("passed", "not expressible")):
            print(f"{name}: {kind}{': ' if why else ''}{why}")
    lacking = table.pop(LACKING, collections.Counter())
    width = max(map(len, table), default=10)
    print("  ".join([" " * width, *kinds]))
    total = collections.Counter()
    for operator, counts in sorted(table.items()):
        print("  ".join([operator.ljust(width), *(f"{counts[kind] or '':>{len(kind)}}" for kind in kinds)]))
        total += counts
    print("  ".join(["together".ljust(width), *(f"{total[kind]:>{len(kind)}}" for kind in kinds)]))
    print(f"of {sum(total.values())} tests; {sum(lacking.values())} more are of operators that the engine lacks")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    main()
