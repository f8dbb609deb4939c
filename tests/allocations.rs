//! Once a plan was added, training on the CPU takes no memory: no step allocates, and nothing grows. Alone in its file,
//! since it counts what the whole process allocates.

#![cfg(feature = "app")]

use humdinger::Result;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::fusion::{Fusions, fuse};
use humdinger::graph::{Parallel, Plan, Session, Target};
use humdinger::train::Recipe;
use humdinger::train::batch::MASKS;
use humdinger::train::network::{Network, Pass};
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
    let recipe = Recipe::Notebook;
    let front_end = recipe.front_end();
    let (network, adam) = Network::new(recipe, &front_end, CLASSES, 1, true)?;
    let mut adam = adam.expect("a network made for training has an optimiser");
    adam.max_norm = Some(1.0);
    // The whole way that training takes: from samples, with augmentation, fused.
    let mut graph = network.graph(Pass::Train { augment: true }, BATCH, Some(&adam))?;
    fuse(&mut graph, Fusions::for_target(Target::Cpu))?;

    let pool = Arc::new(Pool::new(2));
    // A thread takes some memory as it starts, which on a busy machine can be late: wait until the second one has worked.
    let started = AtomicUsize::new(0);
    while started.load(Ordering::Relaxed) == 0 {
        pool.run(2, &|_, worker| {
            started.fetch_add(worker, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
        });
    }
    let mut session = CpuSession::<f32>::new(network.states.clone(), pool)?;
    let id = session.add(Plan::new(graph, Target::Cpu)?)?;
    let len = BATCH * front_end.channels * front_end.window;
    let pitch = |i: usize| 0.05 + 0.03 * (i / (front_end.channels * front_end.window)) as f32;
    let samples: Vec<f32> = (0..len).map(|i| (i as f32 * pitch(i)).sin() + ((i * 37 % 101) as f32) / 500.0).collect();
    let (start, masks) = (vec![0; BATCH], vec![0; BATCH * MASKS * 2]);
    let mut loss = [0.0];
    let mut losses = Vec::with_capacity(100);
    let mut before = (0, 0);
    for step in 0..100 {
        if step == 2 {
            before = (ALLOCATIONS.load(Ordering::Relaxed), LIVE.load(Ordering::Relaxed));
        }
        adam.before_step(&mut session, id, 1e-3, 0.9)?;
        session.write(id, "samples", &samples)?;
        session.write_indices(id, "start", &start)?;
        session.write_indices(id, "frequency_masks", &masks)?;
        session.write_indices(id, "time_masks", &masks)?;
        session.write_indices(id, "labels", &[0, 1, 2, 3])?;
        session.run(id)?;
        session.read(id, "loss", &mut loss)?;
        losses.push(loss[0]);
    }
    let after = (ALLOCATIONS.load(Ordering::Relaxed), LIVE.load(Ordering::Relaxed));
    assert!(before.0 > 0, "the allocator does not count");
    assert_eq!(after, before, "(allocations, bytes held) after and before 98 steps");
    // The steps did something.
    assert!(losses[99] < 0.5 * losses[0], "{losses:?}");
    Ok(())
}
