//! An operation of one's own, outside the crate: `y = x^3` with its gradient, its CPU kernel and its WGSL kernel, held against finite
//! differences on the CPU and, where there is one, on a GPU.

use humdinger::cpu::{CpuSession, Pool};
use humdinger::gpu::{Gpu, GpuSession};
use humdinger::graph::{
    Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Plan, Session, Shader, States, Target, Value, grid,
};
use humdinger::{Real, Result, Spec, cpu_kernels};
use std::sync::Arc;

/// One invocation for each element; constants such as LEN are set when the kernel is compiled.
static CUBE: Shader = Shader::new(
    "cube",
    "
    override LEN: u32;
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;

    @compute @workgroup_size(64)
    fn main(
        @builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32,
    ) {
        let i = (group.y * groups.x + group.x) * 64u + lane;
        if (i < LEN) {
            y[i] = x[i] * x[i] * x[i];
        }
    }",
);

#[derive(Debug)]
struct Cube;

impl Cube {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let x = kernel.input(0);
        kernel.output().iter_mut().zip(x).for_each(|(y, &x)| *y = x * x * x);
    }
}

impl Op for Cube {
    fn name(&self) -> &'static str {
        "cube"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        Ok(vec![inputs[0]])
    }

    /// `3 x^2 dy`, of operations that there are.
    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let squares = graph.multiply(node.inputs[0], node.inputs[0])?;
        let slope = graph.scale(squares, 3.0)?;
        Ok(vec![Some(graph.multiply(slope, dy)?)])
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let len = outputs[0].shape.elements();
        let operands = vec![Operand::Input(0), Operand::Output(0)];
        vec![Launch::new(&CUBE, vec![("LEN", len as f64)], operands, grid(len.div_ceil(64)))]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(2.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }
}

fn main() -> Result<()> {
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [5])?;
    let y = graph.apply_one(Cube, &[x])?;
    let sum = graph.sum_all(y)?;
    let dx = graph.gradients(sum, &[x])?[0];
    graph.output("y", y)?;
    graph.output("dx", dx)?;

    let mut sessions: Vec<(Box<dyn Session>, Target)> =
        vec![(Box::new(CpuSession::<f32>::new(states.clone(), Arc::new(Pool::new(2)))?), Target::Cpu)];
    match Gpu::open(None) {
        Ok(gpu) => sessions.push((Box::new(GpuSession::new(gpu, states)?), Target::Gpu)),
        Err(error) => println!("without a GPU: {error}"),
    }
    for (mut session, target) in sessions {
        let plan = session.add(Plan::new(graph.clone(), target)?)?;
        let at = [-2.0, -0.5, 0.0, 1.0, 3.0f32];
        session.write(plan, "x", &at)?;
        session.run(plan)?;
        let (mut y, mut dx) = ([0.0; 5], [0.0; 5]);
        session.read(plan, "y", &mut y)?;
        session.read(plan, "dx", &mut dx)?;
        println!("{}: y {y:?}, dy/dx {dx:?}", session.describe());
        for i in 0..5 {
            let (x, step) = (f64::from(at[i]), 1e-4);
            let slope = ((x + step).powi(3) - (x - step).powi(3)) / (2.0 * step);
            assert!((f64::from(dx[i]) - slope).abs() < 1e-4 && (f64::from(y[i]) - x.powi(3)).abs() < 1e-4);
        }
    }
    Ok(())
}
