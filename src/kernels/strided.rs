//! Walking several tensors in step, each with strides of its own: what broadcasting, permuting and reducing share.

use crate::graph::Launch;
use crate::tensor::{MAX_RANK, Shape};

/// Axes with the strides of `N` operands along each, in as few axes as describe the same walk. A stride of 0 repeats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<const N: usize> {
    /// The number of axes, at least 1.
    pub rank: usize,
    /// The extents, outermost first.
    pub dims: [usize; MAX_RANK],
    /// The strides of each operand.
    pub strides: [[usize; MAX_RANK]; N],
}

impl<const N: usize> Walk<N> {
    /// Axes of length 1 are left out, and neighbours are merged where every operand walks them as one.
    pub fn new(dims: &[usize], strides: [[usize; MAX_RANK]; N]) -> Self {
        let mut walk = Self { rank: 0, dims: [1; MAX_RANK], strides: [[0; MAX_RANK]; N] };
        for (axis, &len) in dims.iter().enumerate() {
            if len == 1 {
                continue;
            }
            let last = walk.rank.wrapping_sub(1);
            let merges = walk.rank > 0 && (0..N).all(|n| walk.strides[n][last] == strides[n][axis] * len);
            let to = if merges { last } else { walk.rank };
            walk.dims[to] *= len;
            (0..N).for_each(|n| walk.strides[n][to] = strides[n][axis]);
            walk.rank = to + 1;
        }
        walk.rank = walk.rank.max(1);
        walk
    }

    /// The length of the innermost axis.
    pub fn row(&self) -> usize {
        self.dims[self.rank - 1]
    }

    /// The strides along the innermost axis.
    pub fn row_strides(&self) -> [usize; N] {
        std::array::from_fn(|n| self.strides[n][self.rank - 1])
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.dims[..self.rank - 1].iter().product()
    }

    /// Calls `f(row, offset of its start in each operand)` for a range of rows.
    #[inline(always)]
    pub fn for_rows(&self, rows: std::ops::Range<usize>, mut f: impl FnMut(usize, [usize; N])) {
        let outer = self.rank - 1;
        let (mut position, mut offsets) = ([0; MAX_RANK], [0; N]);
        let mut rest = rows.start;
        for axis in (0..outer).rev() {
            position[axis] = rest % self.dims[axis];
            rest /= self.dims[axis];
            (0..N).for_each(|n| offsets[n] += position[axis] * self.strides[n][axis]);
        }
        for row in rows {
            f(row, offsets);
            for axis in (0..outer).rev() {
                position[axis] += 1;
                (0..N).for_each(|n| offsets[n] += self.strides[n][axis]);
                if position[axis] < self.dims[axis] {
                    break;
                }
                (0..N).for_each(|n| offsets[n] -= self.strides[n][axis] * self.dims[axis]);
                position[axis] = 0;
            }
        }
    }

    /// Adds `<name>0 ..= <name>5` to a launch's constants: the extents, right-aligned, with 1 before them.
    pub fn put_dims(&self, launch: &mut Launch, names: &[&'static str; MAX_RANK]) {
        let start = MAX_RANK - self.rank;
        launch
            .constants
            .extend((0..MAX_RANK).map(|i| (names[i], if i < start { 1.0 } else { self.dims[i - start] as f64 })));
    }

    /// Adds the strides of operand `n`, right-aligned like the extents, with 0 before them.
    pub fn put_strides(&self, launch: &mut Launch, n: usize, names: &[&'static str; MAX_RANK]) {
        let start = MAX_RANK - self.rank;
        let stride = |i: usize| if i < start { 0.0 } else { self.strides[n][i - start] as f64 };
        launch.constants.extend((0..MAX_RANK).map(|i| (names[i], stride(i))));
    }
}

/// Names of the extents in WGSL.
pub(crate) const DIMS: [&str; MAX_RANK] = ["D0", "D1", "D2", "D3", "D4", "D5"];
/// Names of the first operand's strides in WGSL.
pub(crate) const A_STRIDES: [&str; MAX_RANK] = ["A0", "A1", "A2", "A3", "A4", "A5"];
/// Names of the second operand's strides in WGSL.
pub(crate) const B_STRIDES: [&str; MAX_RANK] = ["B0", "B1", "B2", "B3", "B4", "B5"];

/// Row-major strides of `shape` when it is read as `to` (NumPy's rule: axes align at the end; length 1 repeats), one per
/// axis of `to`. The caller has checked that it can be.
pub(crate) fn broadcast_strides(shape: Shape, to: Shape) -> [usize; MAX_RANK] {
    let mut strides = [0; MAX_RANK];
    let shift = to.rank() - shape.rank();
    let mut stride = 1;
    for axis in (0..shape.rank()).rev() {
        if shape[axis] != 1 {
            strides[axis + shift] = stride;
        }
        stride *= shape[axis];
    }
    strides
}

/// The shape that two broadcast to by NumPy's rule, if they do.
pub(crate) fn broadcast(a: Shape, b: Shape) -> Option<Shape> {
    let rank = a.rank().max(b.rank());
    let mut dims = [1; MAX_RANK];
    for (axis, dim) in dims[..rank].iter_mut().enumerate() {
        let of = |shape: Shape| if axis + shape.rank() < rank { 1 } else { shape[axis + shape.rank() - rank] };
        *dim = match (of(a), of(b)) {
            (a, b) if a == b => a,
            (1, b) => b,
            (a, 1) => a,
            _ => return None,
        };
    }
    Some(Shape::new(&dims[..rank]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_merge_where_all_operands_walk_them_as_one() {
        let (a, b) = (Shape::from([2, 3, 4, 5]), Shape::from([1, 3, 1, 1]));
        let walk = Walk::new(a.dims(), [broadcast_strides(a, a), broadcast_strides(b, a)]);
        assert_eq!((walk.rank, &walk.dims[..3]), (3, &[2, 3, 20][..]));
        assert_eq!((&walk.strides[0][..3], &walk.strides[1][..3]), (&[60, 20, 1][..], &[0, 1, 0][..]));
        let mut seen = Vec::new();
        walk.for_rows(1..5, |row, offsets| seen.push((row, offsets)));
        assert_eq!(seen, [(1, [20, 1]), (2, [40, 2]), (3, [60, 0]), (4, [80, 1])]);
        let same = Walk::new(a.dims(), [broadcast_strides(a, a)]);
        assert_eq!((same.rank, same.row(), same.rows()), (1, 120, 1));
    }

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        let of = |a: &[usize], b: &[usize]| broadcast(Shape::new(a), Shape::new(b)).map(|s| s.dims().to_vec());
        assert_eq!(of(&[4, 1], &[2, 4, 5]), Some(vec![2, 4, 5]));
        assert_eq!(of(&[], &[3]), Some(vec![3]));
        assert_eq!(of(&[2, 3], &[3, 2]), None);
    }
}
