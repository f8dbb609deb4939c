//! The engine's skeleton: build, differentiate, plan and run.

use humdinger::cpu::{CpuSession, Pool};
use humdinger::graph::{Graph, Parallel, Plan, Session, States, Target};
use humdinger::{Result, Tensor};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[test]
fn a_graph_runs_and_is_differentiated() -> Result<()> {
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [1])?;
    let y = graph.relu(x)?;
    let z = graph.add(y, x)?;
    let dx = graph.gradients(z, &[x])?[0];
    graph.output("z", z)?;
    graph.output("dx", dx)?;
    let mut session = CpuSession::<f64>::new(states, Arc::new(Pool::new(2)))?;
    let id = session.add(Plan::new(graph, Target::Cpu)?)?;
    for (input, z, dx) in [(3.0, 6.0, 2.0), (-2.0, -2.0, 1.0)] {
        session.write(id, "x", &[input])?;
        session.run(id)?;
        assert_eq!((session.output(id, "z")?, session.output(id, "dx")?), (&[z][..], &[dx][..]));
    }
    Ok(())
}

#[test]
fn every_task_of_a_job_runs_once() {
    let pool = Pool::new(4);
    for round in 0..5_000 {
        let tasks = 1 + round % 13;
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.set_backwards(round % 3 == 0);
        pool.run(tasks, &|i, worker| {
            assert!(worker < 4);
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "round {round}");
    }
}

#[test]
fn tasks_are_done_from_the_last_to_the_first_where_that_is_wanted() {
    for threads in [1, 2] {
        let pool = Pool::new(threads);
        for backwards in [false, true] {
            pool.set_backwards(backwards);
            let order = Mutex::new(vec![Vec::new(); threads]);
            pool.run(64, &|i, worker| order.lock().unwrap()[worker].push(i));
            // A thread that is through takes over from another, whose share it does in the same order.
            let turns = |order: &Vec<usize>| order.windows(2).filter(|pair| (pair[0] > pair[1]) != backwards).count();
            assert!(order.lock().unwrap().iter().all(|order| turns(order) < threads), "{order:?}");
        }
    }
}

#[test]
fn states_are_laid_out_in_groups() -> Result<()> {
    let mut states = States::new();
    states.add("parameters", "w", Tensor::full([3, 5], 1.0))?;
    states.add("parameters", "b", Tensor::full([70], 2.0))?;
    assert!(states.add("parameters", "w", Tensor::full([1], 0.0)).is_err());
    let group = states.group("parameters");
    let moments = states.add_like(group, "m")?;
    assert_eq!(states.initial(moments).len(), 64 + 128);
    assert_eq!((states.get("b")?.offset, states.get("m.b")?.offset), (64, 64));
    Ok(())
}
