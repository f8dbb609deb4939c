//! Once a plan was added, training on the CPU takes no memory: no step allocates, and nothing grows. Alone in its file,
//! since it counts what the whole process allocates.

use humdinger::Result;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::graph::{Graph, Parallel, Plan, Session, States, Target};
use humdinger::nn::{Adam, Classifier, Mode};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, counting.
struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn training_steps_allocate_nothing() -> Result<()> {
    const BATCH: usize = 4;
    const CLASSES: usize = 8;
    let network = Classifier::notebook(CLASSES);
    let mut states = States::new();
    let parameters = network.add_states(&mut states, 1)?;
    let mut adam = Adam::new(&mut states, parameters)?;
    adam.max_norm = Some(1.0);
    let states = Arc::new(states);
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [BATCH, 2, 32, 43])?;
    let labels = graph.index_input("labels", [BATCH])?;
    let logits = network.logits(&mut graph, x, Mode::Train)?;
    let entropy = graph.cross_entropy(logits, labels, 0.1)?;
    let correct = graph.correct(logits, labels)?;
    graph.output("loss", entropy.loss)?;
    graph.output("correct", correct)?;
    adam.minimise(&mut graph, entropy.loss)?;

    let pool = Arc::new(Pool::new(2));
    // A thread takes some memory as it starts, which on a busy machine can be late: wait until the second one has worked.
    let started = AtomicUsize::new(0);
    while started.load(Ordering::Relaxed) == 0 {
        pool.run(2, &|_, worker| {
            started.fetch_add(worker, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
        });
    }
    let mut session = CpuSession::<f32>::new(states, pool)?;
    let id = session.add(Plan::new(graph, Target::Cpu)?)?;
    let x: Vec<f32> = (0..BATCH * 2 * 32 * 43).map(|i| ((i * 37 % 101) as f32) / 50.0 - 1.0).collect();
    let (mut loss, mut correct) = ([0.0], [0.0]);
    let mut losses = Vec::with_capacity(200);
    let mut before = (0, 0);
    for step in 0..200 {
        if step == 2 {
            before = (ALLOCATIONS.load(Ordering::Relaxed), LIVE.load(Ordering::Relaxed));
        }
        adam.before_step(&mut session, id, 1e-3, 0.9)?;
        session.write(id, "x", &x)?;
        session.write_indices(id, "labels", &[0, 1, 2, 3])?;
        session.run(id)?;
        session.read(id, "loss", &mut loss)?;
        session.read(id, "correct", &mut correct)?;
        losses.push(loss[0]);
    }
    let after = (ALLOCATIONS.load(Ordering::Relaxed), LIVE.load(Ordering::Relaxed));
    assert!(before.0 > 0, "the allocator does not count");
    assert_eq!(after, before, "(allocations, bytes held) after and before 198 steps");
    // The steps did something.
    assert!(losses[199] < losses[0] && correct[0] == BATCH as f32, "{losses:?}, {} right", correct[0]);
    Ok(())
}
