//! The GPU session: memory, state, guards, and what it refuses. What grows has its tests in gpu_growth.rs.

#![cfg(feature = "gpu")]

#[path = "common/gpu.rs"]
mod common;

use common::gpu;
use humdinger::gpu::{Gpu, GpuSession};
use humdinger::graph::{
    Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Plan, Session, Shader, States, Target, Value, grid, no_gradient,
};
use humdinger::tensor::Spec;
use humdinger::{Result, Tensor, cpu_kernels};
use std::sync::Arc;

/// `relu(x) + x` over one input, its result called `y`.
fn small_graph(states: &Arc<States>, len: usize) -> Result<Graph> {
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [len])?;
    let r = graph.relu(x)?;
    let y = graph.add(r, x)?;
    graph.output("y", y)?;
    Ok(graph)
}

fn counting(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 2_654_435_761) % 2003) as f32 / 100.0 - 10.0).collect()
}

/// What an operation of the tests is made of; its kernel is text, and it has none on the CPU.
#[derive(Debug)]
struct TestOp {
    shader: &'static Shader,
    constants: Vec<(&'static str, f64)>,
    operands: Vec<Operand>,
    workgroups: [u32; 3],
    updates: &'static [(usize, usize)],
}

impl TestOp {
    fn new(shader: &'static Shader, operands: &[Operand]) -> Self {
        Self { shader, constants: Vec::new(), operands: operands.to_vec(), workgroups: [1, 1, 1], updates: &[] }
    }

    fn cpu<T>(&self, _: &mut Kernel<'_, T>) {
        unreachable!("the tests' own operations have no CPU kernel");
    }
}

impl Op for TestOp {
    fn name(&self) -> &'static str {
        "test_op"
    }
    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        Ok(vec![inputs[0]])
    }
    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient("test_op")
    }
    cpu_kernels!();
    fn gpu(&self, _: &[Spec], _: &[Spec]) -> Vec<Launch> {
        vec![Launch::new(self.shader, self.constants.clone(), self.operands.clone(), self.workgroups)]
    }
    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, inputs, outputs)
    }
    fn updates(&self) -> &'static [(usize, usize)] {
        self.updates
    }
}

/// Adds 1 to `y` in place.
static INCREMENT: Shader = Shader::new(
    "test_increment",
    "@group(0) @binding(0) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if (id.x < 5u) { y[id.x] += 1.0; }
        }",
);

/// Writes one element too many (of five).
static OVERRUN: Shader = Shader::new(
    "test_overrun",
    "@group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if (id.x < 6u) { y[id.x] = min(x[id.x], 1.0); }
        }",
);

fn refused(op: TestOp) -> Option<String> {
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [5]).unwrap();
    let y = graph.apply_one(op, &[x]).unwrap();
    graph.output("y", y).unwrap();
    let mut session = GpuSession::new(gpu()?, states).unwrap();
    Some(session.add(Plan::new(graph, Target::Gpu).unwrap()).expect_err("should be refused").to_string())
}

#[test]
fn a_plan_runs_and_is_read() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let states = Arc::new(States::new());
    let mut session = GpuSession::with_guards(gpu, states.clone())?;
    for len in [1, 3, 4, 5, 63, 64, 65, 255, 257, 1000] {
        let id = session.add(Plan::new(small_graph(&states, len)?, Target::Gpu)?)?;
        let x = counting(len);
        session.write(id, "x", &x)?;
        session.run(id)?;
        let mut y = vec![0.0; len];
        session.read(id, "y", &mut y)?;
        for (x, y) in x.iter().zip(&y) {
            assert_eq!(x.max(0.0) + x, *y);
        }
        session.check_guards(id)?;
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let states = Arc::new(States::new());
    let mut session = GpuSession::new(gpu, states.clone())?;
    let wrong_target = session.add(Plan::new(small_graph(&states, 4)?, Target::Cpu)?).unwrap_err().to_string();
    assert!(wrong_target.contains("made for the CPU"), "{wrong_target}");
    let others = Arc::new(States::new());
    let wrong_states = session.add(Plan::new(small_graph(&others, 4)?, Target::Gpu)?).unwrap_err().to_string();
    assert!(wrong_states.contains("other states"), "{wrong_states}");
    let id = session.add(Plan::new(small_graph(&states, 4)?, Target::Gpu)?)?;
    let table = [
        (session.write(id, "x", &[0.0; 5]).unwrap_err(), "`x`: shape [4] has 4 elements, not 5"),
        (session.write_indices(id, "x", &[0; 4]).unwrap_err(), "`x`: holds Real elements, not Index"),
        (session.write(id, "z", &[0.0; 4]).unwrap_err(), "`z`: the plan has no input of this name; it has x"),
        (session.read(id, "y", &mut [0.0; 3]).unwrap_err(), "`y`: shape [4] has 4 elements, not 3"),
        (session.read(id, "x", &mut [0.0; 4]).unwrap_err(), "`x`: the plan has no output of this name; it has y"),
        (session.read_state("w", &mut [0.0; 4]).unwrap_err(), "`w`: there is no such state"),
    ];
    for (error, message) in table {
        assert_eq!(error.to_string(), message);
    }
    Ok(())
}

#[test]
fn kernels_that_cannot_run_are_refused_by_name() {
    let io = [Operand::Input(0), Operand::Output(0)];
    let broken = &*Box::leak(Box::new(Shader::new("test_broken", "this is no WGSL")));
    let table = [
        (TestOp { workgroups: [65_536, 1, 1], ..TestOp::new(&OVERRUN, &io) }, "65536 workgroups"),
        (TestOp::new(&OVERRUN, &[Operand::Input(0); 9]), "binds 9 buffers"),
        (TestOp::new(&OVERRUN, &[Operand::Input(1), Operand::Output(0)]), "Input(1), which does not exist"),
        (TestOp::new(&OVERRUN, &[Operand::ReadOutput(0), Operand::Output(0)]), "in one buffer"),
        (TestOp::new(&OVERRUN, &io[..1]), "test_overrun.wgsl"),
        (TestOp::new(&OVERRUN, &[Operand::Output(0), Operand::Input(0)]), "test_overrun.wgsl"),
        (TestOp { constants: vec![("NONE", 1.0)], ..TestOp::new(&OVERRUN, &io) }, "test_overrun.wgsl"),
        (TestOp::new(broken, &io), "test_broken.wgsl"),
    ];
    for (op, part) in table {
        let Some(message) = refused(op) else { return };
        assert!(message.contains("test_op") && message.contains(part), "{message}");
    }
}

#[test]
fn a_buffer_larger_than_the_device_allows_is_refused() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let states = Arc::new(States::new());
    let len = (gpu.adapter().largest_binding() / 4 + 1) as usize;
    let mut session = GpuSession::new(gpu, states.clone())?;
    let message = session.add(Plan::new(small_graph(&states, len)?, Target::Gpu)?).unwrap_err().to_string();
    assert!(message.contains("smaller batch size"), "{message}");
    Ok(())
}

#[test]
fn a_write_beyond_the_end_is_found() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [5])?;
    let y = graph.apply_one(TestOp::new(&OVERRUN, &[Operand::Input(0), Operand::Output(0)]), &[x])?;
    graph.output("y", y)?;
    let mut session = GpuSession::with_guards(gpu, states)?;
    let id = session.add(Plan::new(graph, Target::Gpu)?)?;
    session.check_guards(id)?;
    session.write(id, "x", &[1.0; 5])?;
    session.run(id)?;
    let message = session.check_guards(id).unwrap_err().to_string();
    assert!(message.contains("element 5 of the 5") && message.contains("test_op"), "{message}");
    Ok(())
}

/// Fills workgroup memory, and hands on what is there.
static LEAVES: Shader = Shader::new(
    "test_leaves",
    "var<workgroup> shared_memory: array<f32, 1024>;
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
            for (var k = 0u; k < 16u; k++) { shared_memory[k * 64u + lane] = x[lane] + 7.0; }
            workgroupBarrier();
            for (var k = 0u; k < 16u; k++) { y[k * 64u + lane] = shared_memory[k * 64u + 63u - lane]; }
        }",
);

/// Reads workgroup memory to which it writes nothing.
static PRIES: Shader = Shader::new(
    "test_pries",
    "var<workgroup> shared_memory: array<f32, 1024>;
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
            for (var k = 0u; k < 16u; k++) { y[k * 64u + lane] = shared_memory[k * 64u + lane]; }
            if (x[0] > 1e30) { shared_memory[lane] = 1.0; }
        }",
);

/// Kernels of other crates are compiled with all of WebGPU's checks: they do not see what others left in workgroup memory.
#[test]
fn a_kernel_of_another_crate_sees_nothing_that_others_left() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let io = [Operand::Input(0), Operand::Output(0)];
    let x = graph.input("x", [1024])?;
    let left = graph.apply_one(TestOp::new(&LEAVES, &io), &[x])?;
    let seen = graph.apply_one(TestOp::new(&PRIES, &io), &[left])?;
    graph.output("seen", seen)?;
    let mut session = GpuSession::new(gpu, states)?;
    let id = session.add(Plan::new(graph, Target::Gpu)?)?;
    session.write(id, "x", &[1.0; 1024])?;
    let mut seen = vec![1.0; 1024];
    for _ in 0..3 {
        session.run(id)?;
        session.read(id, "seen", &mut seen)?;
        assert_eq!(seen, [0.0; 1024]);
    }
    Ok(())
}

#[test]
fn state_is_shared_updated_in_place_and_copied() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let mut states = States::new();
    states.add("parameters", "w", Tensor::new([5], vec![1.0, 2.0, 3.0, 4.0, 5.0])?)?;
    states.add("parameters", "v", Tensor::full([5], -1.0))?;
    let states = Arc::new(states);
    let mut session = GpuSession::with_guards(gpu, states.clone())?;

    // One plan adds 1 to w in place; another replaces v by relu(w) + w, which takes a copy.
    let mut graph = Graph::new(states.clone());
    let w = graph.state("w")?;
    let op = TestOp { updates: &[(0, 0)], ..TestOp::new(&INCREMENT, &[Operand::Output(0)]) };
    let next = graph.apply_one(op, &[w])?;
    graph.assign(w, next)?;
    let step = session.add(Plan::new(graph, Target::Gpu)?)?;
    let mut graph = Graph::new(states.clone());
    let (w, v) = (graph.state("w")?, graph.state("v")?);
    let r = graph.relu(w)?;
    let y = graph.add(r, w)?;
    graph.assign(v, y)?;
    graph.output("y", y)?;
    let copy = session.add(Plan::new(graph, Target::Gpu)?)?;

    session.run(step)?;
    session.run_times(step, 2)?;
    session.run(copy)?;
    let mut read = [0.0; 5];
    session.read_state("w", &mut read)?;
    assert_eq!(read, [4.0, 5.0, 6.0, 7.0, 8.0]);
    session.read_state("v", &mut read)?;
    assert_eq!(read, [8.0, 10.0, 12.0, 14.0, 16.0]);
    session.write_state("w", &[0.0; 5])?;
    session.run(step)?;
    let mut group = [9.0; 128];
    session.read_state("parameters", &mut group)?;
    assert_eq!(group[..6], [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    assert_eq!(group[64..70], [8.0, 10.0, 12.0, 14.0, 16.0, 0.0]);
    session.check_guards(step)?;
    session.check_guards(copy)
}

#[test]
fn values_are_packed_beside_each_other() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let mut states = States::new();
    for (name, len) in [("a", 3), ("b", 70), ("c", 5)] {
        states.add("parameters", name, Tensor::full([len], 0.0))?;
    }
    let group = states.group("parameters");
    let states = Arc::new(states);
    let mut graph = Graph::new(states.clone());
    let (a, b) = (graph.input("a", [3])?, graph.input("b", [70])?);
    let c = graph.input("c", [5])?;
    // The first two are computed inside the pack, the third is an input and must be copied.
    let (ra, rb) = (graph.relu(a)?, graph.relu(b)?);
    let packed = graph.pack(group, &[ra, rb, c])?;
    let y = graph.relu(packed)?;
    graph.output("y", y)?;
    let mut session = GpuSession::with_guards(gpu, states)?;
    let id = session.add(Plan::new(graph, Target::Gpu)?)?;
    for input in [("a", 3), ("b", 70), ("c", 5)] {
        session.write(id, input.0, &vec![input.1 as f32; input.1])?;
    }
    session.run(id)?;
    let mut y = [9.0; 64 + 128 + 64];
    session.read(id, "y", &mut y)?;
    for (i, &y) in y.iter().enumerate() {
        let expected = match i {
            0..3 => 3.0,
            64..134 => 70.0,
            192..197 => 5.0,
            _ => 0.0,
        };
        assert_eq!(y, expected, "element {i}");
    }
    session.check_guards(id)
}

#[test]
fn more_than_65535_workgroups_run() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    // 256 elements per workgroup.
    let len = 65_535 * 256 + 300;
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [len])?;
    let y = graph.relu(x)?;
    graph.output("y", y)?;
    let plan = Plan::new(graph, Target::Gpu)?;
    let [columns, rows, _] = plan.steps[0].launches()[0].workgroups;
    assert!(columns as usize * rows as usize > 65_535, "the test no longer needs more workgroups than fit in a row");
    let mut session = GpuSession::with_guards(gpu, states)?;
    let id = session.add(plan)?;
    let x: Vec<f32> = (0..len).map(|i| i as f32 - 8e6).collect();
    session.write(id, "x", &x)?;
    session.run(id)?;
    let mut y = vec![0.0; len];
    session.read(id, "y", &mut y)?;
    assert!(x.iter().zip(&y).all(|(x, y)| x.max(0.0) == *y));
    assert!(grid(len.div_ceil(256))[1] > 1);
    session.check_guards(id)
}

/// Whichever thread polls a shared device runs the callbacks of all: a result may then arrive a moment after this thread's
/// own poll has returned.
#[test]
fn several_threads_read_from_one_device() {
    let Some(gpu) = gpu() else { return };
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let gpu = gpu.clone();
            scope.spawn(move || {
                let states = Arc::new(States::new());
                let mut session = GpuSession::new(gpu, states.clone()).unwrap();
                let id = session.add(Plan::new(small_graph(&states, 8).unwrap(), Target::Gpu).unwrap()).unwrap();
                for round in 0..300 {
                    let x = (thread * 1000 + round) as f32;
                    session.write(id, "x", &[x; 8]).unwrap();
                    session.run(id).unwrap();
                    let mut y = [0.0; 8];
                    session.read(id, "y", &mut y).unwrap();
                    assert_eq!(y, [2.0 * x; 8]);
                }
            });
        }
    });
}

/// A device of its own, for tests that spoil it.
fn own_gpu() -> Option<Gpu> {
    gpu().map(|shared| Gpu::open(Some(shared.adapter().number)).expect("it could be opened before"))
}

#[test]
fn a_lost_device_is_an_error_that_says_what_to_do() -> Result<()> {
    let Some(gpu) = own_gpu() else { return Ok(()) };
    let states = Arc::new(States::new());
    let mut session = GpuSession::new(gpu.clone(), states.clone())?;
    let id = session.add(Plan::new(small_graph(&states, 100)?, Target::Gpu)?)?;
    session.run(id)?;
    gpu.destroy();
    let mut y = vec![0.0; 100];
    let failed = session.run(id).and_then(|()| session.read(id, "y", &mut y));
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("was lost") && message.contains("the CPU"), "{message}");
    let message = session.add(Plan::new(small_graph(&states, 50)?, Target::Gpu)?).unwrap_err().to_string();
    assert!(message.contains("was lost"), "{message}");
    Ok(())
}

/// Keeps a software device busy for seconds. In many workgroups, since llvmpipe cuts all loops of an invocation short when
/// they have gone through 65 535 rounds together.
static SLOW: Shader = Shader::new(
    "test_slow",
    "@group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1) fn main() {
            var v = x[0];
            for (var k = 0u; k < 60000u; k++) { v = sqrt(v + x[k % 5u]); }
            y[0] = v;
        }",
);

#[test]
fn a_device_that_does_not_answer_in_time_is_an_error() -> Result<()> {
    let Some(gpu) = own_gpu() else { return Ok(()) };
    if !gpu.adapter().is_software() {
        eprintln!("SKIPPED: a real GPU is too fast, or kills the driver, where a software one takes its time");
        return Ok(());
    }
    gpu.set_timeout(std::time::Duration::from_millis(50));
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [5])?;
    let io = [Operand::Input(0), Operand::Output(0)];
    let y = graph.apply_one(TestOp { workgroups: [2_000, 1, 1], ..TestOp::new(&SLOW, &io) }, &[x])?;
    graph.output("y", y)?;
    let mut session = GpuSession::new(gpu, states)?;
    let id = session.add(Plan::new(graph, Target::Gpu)?)?;
    let start = std::time::Instant::now();
    session.run(id)?;
    let message = session.read(id, "y", &mut [0.0; 5]).unwrap_err().to_string();
    assert!(message.contains("within 0.1 s") && message.contains("the CPU"), "{message}");
    assert!(start.elapsed().as_secs_f64() < 2.0, "{:?}", start.elapsed());
    Ok(())
}

#[test]
fn the_same_bits_run_after_run() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let states = Arc::new(States::new());
    let x: Vec<f32> = counting(5000).iter().map(|x| x * 1.000_1 + 1e-7).collect();
    let mut runs = Vec::new();
    for _ in 0..3 {
        let mut session = GpuSession::new(gpu.clone(), states.clone())?;
        let id = session.add(Plan::new(small_graph(&states, 5000)?, Target::Gpu)?)?;
        for _ in 0..2 {
            session.write(id, "x", &x)?;
            session.run(id)?;
            let mut y = vec![0.0f32; 5000];
            session.read(id, "y", &mut y)?;
            runs.push(y.iter().map(|y| y.to_bits()).collect::<Vec<u32>>());
        }
    }
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]));
    Ok(())
}

#[test]
fn every_launch_is_timed() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let states = Arc::new(States::new());
    let mut session = GpuSession::new(gpu, states.clone())?;
    let id = session.add(Plan::new(small_graph(&states, 100_000)?, Target::Gpu)?)?;
    session.write(id, "x", &counting(100_000))?;
    let timings = session.profile(id)?;
    let mut ops: Vec<&str> = timings.iter().map(|timing| timing.op).collect();
    ops.sort_unstable();
    assert_eq!(ops, ["add", "relu"]);
    assert!(
        timings.iter().all(|timing| timing.launches == 1 && timing.seconds > 0.0 && timing.seconds < 10.0),
        "{timings:?}"
    );
    Ok(())
}
