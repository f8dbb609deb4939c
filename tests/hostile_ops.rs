//! Operations written without `unsafe` that break their promises: each ends in an error or a panic that says what is wrong, and
//! none gets at memory that is another's.

use humdinger::cpu::{CpuSession, Pool};
use humdinger::graph::{
    BufferKind, Cost, CpuOp, CpuReal, Gradient, Graph, Kernel, Plan, Session, States, Target, Value, no_gradient,
};
use humdinger::tensor::{Shape, Spec};
use humdinger::{Result, Tensor, cpu_kernels};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pairs of an output and the input that it replaces.
type Updates = &'static [(usize, usize)];

/// What the hostile kernel does.
#[derive(Clone, Copy, Debug)]
enum Trick {
    /// Reads input 0 and writes output 0 at the same time.
    ReadsWhatItWrites,
    /// Takes output 0 as real numbers.
    TakesOutput,
    /// Takes output 0 as real numbers, together with scratch.
    TakesOutputAndScratch,
    /// Adds its last input to output 0.
    AddsLast,
    /// Does nothing.
    Nothing,
}

#[derive(Debug)]
struct Hostile {
    trick: Trick,
    outputs: Vec<Spec>,
    updates: Updates,
    /// What it says that it updates once it was asked this often.
    later: Option<(usize, Updates)>,
    asked: AtomicUsize,
    scratch: Vec<usize>,
    private: usize,
}

impl Hostile {
    fn new(trick: Trick, outputs: &[Spec], updates: Updates) -> Self {
        let outputs = outputs.to_vec();
        Self { trick, outputs, updates, later: None, asked: AtomicUsize::new(0), scratch: Vec::new(), private: 0 }
    }

    fn cpu<T: CpuReal>(&self, kernel: &mut Kernel<'_, T>) {
        match self.trick {
            Trick::ReadsWhatItWrites => {
                let old = kernel.input(0);
                let new = kernel.output();
                assert_ne!(old.as_ptr(), new.as_ptr(), "one memory, two references");
            }
            Trick::TakesOutput => panic!("an output of {} real numbers", kernel.output().len()),
            Trick::TakesOutputAndScratch => {
                panic!("an output of {} real numbers", kernel.outputs_and_scratch::<1, 0>().0[0].len())
            }
            Trick::AddsLast => {
                let last = kernel.input(kernel.input_specs().len() - 1);
                let output = kernel.output();
                assert_ne!(last.as_ptr(), output.as_ptr(), "one memory, two references");
                output.iter_mut().zip(last).for_each(|(to, &from)| *to += from);
            }
            Trick::Nothing => {}
        }
    }
}

impl CpuOp for Hostile {
    fn name(&self) -> &'static str {
        "hostile"
    }
    fn outputs(&self, _: &[Spec]) -> Result<Vec<Spec>> {
        Ok(self.outputs.clone())
    }
    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient("hostile")
    }
    cpu_kernels!();
    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, inputs, outputs)
    }
    fn scratch(&self, _: &[Spec], _: &[Spec]) -> Vec<usize> {
        self.scratch.clone()
    }
    fn private_scratch(&self, _: &[Spec], _: &[Spec]) -> usize {
        self.private
    }
    fn updates(&self) -> Updates {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.later.filter(|&(from, _)| asked >= from).map_or(self.updates, |(_, updates)| updates)
    }
}

const LEN: usize = 4;

/// A graph over a state `s` of `LEN` elements, 0 to 3, and its content.
fn over_state() -> Result<(Graph, Value)> {
    let mut states = States::new();
    states.add("kept", "s", Tensor::new([LEN], (0..LEN).map(|i| i as f32).collect())?)?;
    let mut graph = Graph::new(Arc::new(states));
    let state = graph.state("s")?;
    Ok((graph, state))
}

/// Plans the graph and runs it once in T, and says what went wrong: an error, or a kernel's panic.
fn run<T: CpuReal>(graph: Graph) -> std::result::Result<CpuSession<T>, String> {
    let mut session =
        CpuSession::<T>::new(graph.states().clone(), Arc::new(Pool::new(2))).map_err(|e| e.to_string())?;
    let plan = Plan::new(graph, Target::Cpu).map_err(|e| e.to_string())?;
    let id = session.add(plan).map_err(|e| e.to_string())?;
    let ran = catch_unwind(AssertUnwindSafe(|| session.run(id).map_err(|e| e.to_string())));
    ran.unwrap_or_else(|panic| Err(panic.downcast_ref::<String>().cloned().unwrap_or_default())).map(|()| session)
}

fn message<T>(result: std::result::Result<T, impl ToString>) -> String {
    result.err().map_or_else(|| "it was not refused".into(), |error| error.to_string())
}

#[track_caller]
fn assert_says(message: &str, words: &str) {
    assert!(message.contains(words), "`{message}` does not say `{words}`");
}

#[test]
fn an_input_that_is_replaced_is_not_handed_to_the_kernel() -> Result<()> {
    for assigned in [true, false] {
        let (mut graph, state) = over_state()?;
        let op = Hostile::new(Trick::ReadsWhatItWrites, &[Spec::real([LEN])], &[(0, 0)]);
        let new = graph.apply_one(op, &[state])?;
        if assigned {
            graph.assign(state, new)?;
        } else {
            graph.output("new", new)?;
        }
        assert_says(&message(run::<f32>(graph.clone())), "input 0 is replaced by an output");
        assert_says(&message(run::<f64>(graph)), "input 0 is replaced by an output");
    }
    Ok(())
}

/// What is asked once when the graph is built, again when it is planned, and again when it is run, may change each time.
#[test]
fn an_operation_that_says_something_else_each_time_gains_nothing() -> Result<()> {
    for from in 0..6 {
        for (first, then) in [(&[(0, 0)][..], &[][..]), (&[], &[(0, 0)]), (&[], &[(0, 7)]), (&[(0, 0)], &[(3, 0)])] {
            let (mut graph, state) = over_state()?;
            let op = Hostile {
                later: Some((from, then)),
                ..Hostile::new(Trick::ReadsWhatItWrites, &[Spec::real([LEN])], first)
            };
            let Ok(new) = graph.apply_one(op, &[state]) else { continue };
            graph.assign(state, new)?;
            // The kernel itself looks whether it got one memory twice.
            if let Err(error) = run::<f32>(graph) {
                assert!(!error.contains("two references"), "{error}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_state_that_is_also_read_is_not_overwritten_in_place() -> Result<()> {
    let (mut graph, state) = over_state()?;
    let again = graph.reshape(state, [LEN])?;
    let op = Hostile::new(Trick::AddsLast, &[Spec::real([LEN])], &[(0, 0)]);
    let new = graph.apply_one(op, &[state, again])?;
    graph.assign(state, new)?;
    let mut session = run::<f64>(graph).expect("two views of one state are nothing wrong");
    assert_eq!(session.state_mut("s", LEN)?, [0.0, 2.0, 4.0, 6.0]);
    Ok(())
}

#[test]
fn what_is_updated_must_exist_once_and_be_of_one_shape() -> Result<()> {
    let real = Spec::real([LEN]);
    let cases = [
        (&[real][..], &[(0, 7)][..], "output 0 replaces input 7; it has 1 inputs and 1 outputs"),
        (&[real], &[(7, 0)], "output 7 replaces input 0"),
        (&[real, real], &[(0, 0), (1, 0)], "twice"),
        (&[real, real], &[(0, 0), (0, 0)], "twice"),
        (&[Spec::real([LEN - 1])], &[(0, 0)], "real numbers of shape [3], replaces input 0, real numbers of shape [4]"),
        (&[Spec::index([LEN])], &[(0, 0)], "indices of shape [4], replaces input 0, real numbers of shape [4]"),
    ];
    for (outputs, updates, words) in cases {
        let (mut graph, state) = over_state()?;
        let refused = message(graph.apply(Hostile::new(Trick::Nothing, outputs, updates), &[state]));
        assert_says(&refused, words);
        assert_says(&refused, "hostile");
    }
    Ok(())
}

#[test]
fn a_state_is_not_assigned_twice_under_two_shapes() -> Result<()> {
    let (mut graph, state) = over_state()?;
    let square = graph.reshape(state, [2, 2])?;
    let outputs = [Spec::real([LEN]), Spec::real([2, 2])];
    let new = graph.apply(Hostile::new(Trick::Nothing, &outputs, &[(0, 0), (1, 1)]), &[state, square])?;
    graph.assign(state, new[0])?;
    graph.assign(square, new[1])?;
    assert_says(&message(Plan::new(graph, Target::Cpu)), "a state is assigned twice");
    Ok(())
}

#[test]
fn indices_are_not_taken_for_real_numbers() -> Result<()> {
    for trick in [Trick::TakesOutput, Trick::TakesOutputAndScratch] {
        let (mut graph, state) = over_state()?;
        let outputs = [Spec::index([LEN]), Spec::real([1])];
        let made = graph.apply(Hostile::new(trick, &outputs, &[]), &[state])?;
        graph.output("second", made[1])?;
        assert_says(&message(run::<f64>(graph.clone())), "output 0 holds indices");
        assert_says(&message(run::<f32>(graph)), "output 0 holds indices");
    }
    Ok(())
}

#[test]
fn lengths_that_no_memory_holds_are_errors() -> Result<()> {
    // 2^62 f64s are 2^65 bytes, which wrap to few or none.
    let long = 1 << 62;
    let plain = || Hostile::new(Trick::Nothing, &[Spec::real([LEN])], &[]);
    let hostile = [
        Hostile { scratch: vec![long], ..plain() },
        Hostile { private: long, ..plain() },
        Hostile { private: usize::MAX, ..plain() },
        Hostile::new(Trick::Nothing, &[Spec::real([long])], &[]),
        Hostile::new(Trick::Nothing, &[Spec::real([1 << 40, 1 << 40])], &[]),
    ];
    for op in hostile {
        let (mut graph, state) = over_state()?;
        let y = graph.apply_one(op, &[state])?;
        graph.output("y", y)?;
        assert_says(&message(run::<f64>(graph)), "memory");
    }
    assert_eq!(Shape::new(&[1 << 40, 1 << 40]).elements(), usize::MAX);
    Ok(())
}

/// A plan's parts are public.
#[test]
fn a_plan_that_was_tampered_with_is_refused() -> Result<()> {
    let plan = || -> Result<Plan> {
        let (mut graph, state) = over_state()?;
        let x = graph.input("x", [LEN])?;
        let weights = graph.constant([LEN], vec![1.0; LEN])?;
        let scaled = graph.add(x, weights)?;
        let sum = graph.add(scaled, state)?;
        let y = graph.relu(sum)?;
        graph.assign(state, y)?;
        graph.output("sum", sum)?;
        Plan::new(graph, Target::Cpu)
    };
    type Tampering = (&'static str, fn(&mut Plan));
    let tampered: [Tampering; 10] = [
        ("past its buffer", |plan| plan.steps[0].outputs[0].offset = 1),
        ("past all memory", |plan| plan.steps[0].outputs[0].offset = usize::MAX),
        ("too long", |plan| plan.steps[0].inputs[0].len += 1),
        ("no such buffer", |plan| plan.steps[0].inputs[0].buffer = 1000),
        ("output over input", |plan| plan.steps[1].outputs[0] = plan.steps[1].inputs[0]),
        ("fewer operands", |plan| plan.steps[0].inputs.truncate(1)),
        ("other shapes", |plan| plan.steps[0].input_specs[0] = Spec::real([LEN + 1])),
        ("output into a constant", |plan| plan.steps[1].outputs[0] = plan.steps[0].inputs[1]),
        ("a constant that is an input", |plan| plan.inputs[0].place = plan.steps[0].inputs[1]),
        ("a short constant", |plan| {
            plan.buffers.iter_mut().filter(|b| matches!(b.kind, BufferKind::Constant(_))).for_each(|b| b.len = 2);
        }),
    ];
    let add = |plan: Plan| -> Result<()> {
        let mut session = CpuSession::<f64>::new(plan.graph.states().clone(), Arc::new(Pool::new(1)))?;
        let id = session.add(plan)?;
        session.run(id)
    };
    add(plan()?)?;
    for (what, tamper) in tampered {
        let mut plan = plan()?;
        tamper(&mut plan);
        assert!(add(plan).is_err(), "{what}");
    }
    Ok(())
}
