//! Every operation against PyTorch: output and gradients on the CPU and on a GPU equal the numbers of tools/golden_engine.py.
//!
//! PyTorch computed in f64 from f32 inputs; an error is measured against the root mean square of the expected tensor.

#[path = "common/golden_operation.rs"]
mod common;

use common::golden::{Case, Golden, TOLERANCE, error};
use common::{batch_norms, operation};
use humdinger::Shape;
use humdinger::ops::{ConvOptions, Windows};

/// Every golden file has a test here: a file that nobody reads proves nothing.
#[test]
fn every_file_is_used() {
    let source = concat!(
        include_str!("golden_engine.rs"),
        include_str!("golden_operations.rs"),
        include_str!("golden_training.rs")
    );
    let files = Golden::all();
    assert!(files.len() > 15, "the golden files are missing");
    let unused: Vec<String> = files.into_iter().filter(|name| !source.contains(&format!("\"{name}\""))).collect();
    assert!(unused.is_empty(), "no test reads {}", unused.join(", "));
}

/// What the tests themselves rely on: that a wrong number is seen.
#[test]
fn a_wrong_number_is_seen() {
    assert!(error(&[1.0, 2.0], &[1.0, 2.0]) == 0.0);
    assert!(error(&[1.0, 2.0001], &[1.0, 2.0]) > TOLERANCE);
    assert!(error(&[1.0, f32::NAN], &[1.0, 2.0]).is_infinite());
    assert!(error(&[1e-9], &[0.0]).is_infinite());
}

fn conv_options(case: &Case<'_>) -> ConvOptions {
    ConvOptions {
        stride: case.pair("stride"),
        padding: case.pair("padding"),
        dilation: case.pair("dilation"),
        groups: case.integer("groups"),
    }
}

#[test]
fn conv2d() {
    operation("conv2d", &["x", "w", "b"], &|graph, case, v| {
        graph.conv2d(v[0], v[1], v.get(2).copied(), conv_options(case))
    });
}

#[test]
fn batch_norm() {
    batch_norms("batch_norm2d");
}

#[test]
fn pooling() {
    operation("adaptive_avg_pool2d", &["x"], &|graph, case, v| graph.adaptive_avg_pool2d(v[0], case.pair("output")));
    operation("max_pool2d", &["x"], &|graph, case, v| {
        let (kernel, stride, padding) = (case.pair("kernel"), case.pair("stride"), case.pair("padding"));
        graph.max_pool2d(v[0], Windows { kernel, stride, padding, dilation: [1, 1], ceil: false })
    });
}

#[test]
fn losses() {
    operation("log_softmax", &["x"], &|graph, _, v| graph.log_softmax(v[0]));
    operation("cross_entropy", &["x", "labels"], &|graph, case, v| {
        Ok(graph.cross_entropy(v[0], v[1], case.number("label_smoothing"))?.loss)
    });
}

#[test]
fn relu() {
    operation("relu", &["x"], &|graph, _, v| graph.relu(v[0]));
}

#[test]
fn linear() {
    operation("linear", &["x", "w", "b"], &|graph, case, v| match v.get(2) {
        Some(&b) => graph.linear(v[0], v[1], b),
        None => {
            let zeros = graph.constant([case.shape("w")[0]], vec![0.0; case.shape("w")[0]])?;
            graph.linear(v[0], v[1], zeros)
        }
    });
}

#[test]
fn matmul() {
    operation("matmul", &["a", "b"], &|graph, _, v| graph.matmul(v[0], v[1]));
}

#[test]
fn transpose() {
    operation("transpose", &["x"], &|graph, case, v| graph.permute(v[0], &case.integers("order")));
}

#[test]
fn reshape() {
    operation("reshape", &["x"], &|graph, case, v| graph.reshape(v[0], Shape::new(&case.integers("to"))));
}

#[test]
fn elementwise() {
    operation("add", &["a", "b"], &|graph, _, v| graph.add(v[0], v[1]));
    operation("multiply", &["a", "b"], &|graph, _, v| graph.multiply(v[0], v[1]));
    operation("scale", &["x"], &|graph, case, v| graph.scale(v[0], case.number("factor")));
    operation("dropout", &["x", "mask"], &|graph, case, v| graph.dropout(v[0], v[1], case.number("p")));
}

#[test]
fn reductions() {
    operation("sum", &["x"], &|graph, case, v| graph.sum(v[0], &case.integers("axes"), false));
    operation("mean", &["x"], &|graph, case, v| graph.mean(v[0], &case.integers("axes"), false));
}
