//! How the steps of a plan are divided among ranks: which are done by rows, which values every rank has whole, and which must
//! first be gathered.

use crate::graph::{BufferKind, Division, Op, Place, Plan, Step, Work};
use crate::tensor::Spec;
use std::ops::Range;
use std::sync::Arc;

/// A plan's division among ranks.
pub(super) struct Divided {
    /// Items of the batch.
    pub items: usize,
    /// Those of each rank.
    pub parts: Vec<Range<usize>>,
    /// What each step does.
    pub steps: Vec<Action>,
    /// What is gathered after the last step.
    pub end: Vec<Place>,
}

/// What a rank does of a step.
pub(super) struct Action {
    /// What every rank must have whole before.
    pub gather: Vec<Place>,
    /// Whether what earlier steps left [unfinished](Op::late) must be finished before: this one touches it.
    pub finish: bool,
    /// How it is done.
    pub how: How,
}

pub(super) enum How {
    /// By every rank.
    Whole,
    /// By the operation, which is told the rank's part.
    Shared,
    /// By a rank on its own rows.
    Rows(Rows),
}

/// A step on some of its rows.
pub(super) struct Rows {
    /// None where the rank has no items.
    pub op: Option<Arc<dyn Op>>,
    pub inputs: Vec<Place>,
    pub outputs: Vec<Place>,
    pub input_specs: Vec<Spec>,
    pub output_specs: Vec<Spec>,
}

/// What is known of a value in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Every rank has its own items' rows.
    Own,
    /// Every rank has all rows, and they are items'.
    All,
}

/// Values that go by items, where they lie. What lies elsewhere is whole everywhere.
struct Held<'a> {
    plan: &'a Plan,
    values: Vec<(Place, Kind)>,
    /// Outputs that may not be finished.
    late: Vec<Place>,
}

impl Held<'_> {
    fn meet(&self, a: &Place, b: &Place) -> bool {
        let group = |place: &Place| match &self.plan.buffers[place.buffer].kind {
            BufferKind::State(group) => Some(*group),
            _ => None,
        };
        let same = a.buffer == b.buffer || (group(a).is_some() && group(a) == group(b));
        same && a.offset < b.offset + b.len && b.offset < a.offset + a.len
    }

    /// Takes the place of whatever was known of this memory.
    fn put(&mut self, place: &Place, kind: Option<Kind>) {
        let mut values = std::mem::take(&mut self.values);
        values.retain(|(other, _)| !self.meet(other, place));
        values.extend(kind.map(|kind| (*place, kind)));
        self.values = values;
    }

    /// What is known of exactly this value.
    fn kind(&self, place: &Place) -> Option<Kind> {
        self.values.iter().find(|(other, _)| other == place).map(|&(_, kind)| kind)
    }

    /// Whether a rank has its own rows of this value: it was made by rows, or is whole.
    fn has_rows(&self, place: &Place) -> bool {
        self.values.iter().all(|(other, kind)| *kind == Kind::All || other == place || !self.meet(other, place))
    }

    /// What must be gathered so that every rank has all of this memory; it has from then on.
    fn whole(&mut self, place: &Place, gather: &mut Vec<Place>) {
        let mut values = std::mem::take(&mut self.values);
        for (other, kind) in &mut values {
            if *kind == Kind::Own && self.meet(other, place) {
                *kind = Kind::All;
                gather.push(*other);
            }
        }
        self.values = values;
    }
}

impl Divided {
    /// The division of a plan whose inputs name items, for this rank of so many.
    pub fn new(plan: &Plan, rank: usize, ranks: usize) -> Option<Self> {
        let items = plan.graph.items()?;
        let divisions: Vec<Division> = plan.steps.iter().map(|step| division(step, items)).collect();
        let parts = parts(items, &divisions, ranks);
        let by_item = plan.inputs.iter().filter(|port| port.by_item).map(|port| (port.place, Kind::All));
        let mut held = Held { plan, values: by_item.collect(), late: Vec::new() };
        let mut steps = Vec::new();
        for (step, division) in plan.steps.iter().zip(divisions) {
            steps.push(action(&mut held, step, &division, items, &parts, rank));
        }
        let mut end = Vec::new();
        for port in &plan.outputs {
            held.whole(&port.place, &mut end);
        }
        let states = held.values.iter().map(|(place, _)| *place);
        let states: Vec<Place> =
            states.filter(|place| matches!(plan.buffers[place.buffer].kind, BufferKind::State(_))).collect();
        states.iter().for_each(|place| held.whole(place, &mut end));
        Some(Self { items, parts, steps, end })
    }
}

/// How a step may be divided; not at all where what its operation says does not fit its operands.
fn division(step: &Step, items: usize) -> Division {
    let Work::Run(op) = &step.work else { return Division::Whole };
    let by_rows = |specs: &[Spec], which: &[bool]| {
        specs.len() == which.len()
            && specs
                .iter()
                .zip(which)
                .all(|(spec, &rows)| !rows || spec.shape.dims().first().is_some_and(|rows| rows.is_multiple_of(items)))
    };
    let all = vec![true; step.output_specs.len()];
    let division = op.division(&step.input_specs, items);
    let fits = match &division {
        Division::Whole => true,
        Division::Rows { inputs } => {
            op.updates().is_empty() && by_rows(&step.input_specs, inputs) && by_rows(&step.output_specs, &all)
        }
        Division::Shared { inputs, outputs, .. } => {
            by_rows(&step.input_specs, inputs) && by_rows(&step.output_specs, outputs)
        }
    };
    if fits { division } else { Division::Whole }
}

/// The items of each rank: as many pieces for each as there can be, and no piece of an operation's cut divided.
fn parts(items: usize, divisions: &[Division], ranks: usize) -> Vec<Range<usize>> {
    let each = divisions.iter().fold(1, |each, division| match division {
        Division::Shared { items, .. } => least_common_multiple(each, (*items).max(1)),
        _ => each,
    });
    let pieces = items.div_ceil(each);
    let start = |rank: usize| (rank * pieces / ranks * each).min(items);
    (0..ranks).map(|rank| start(rank)..start(rank + 1)).collect()
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

fn action(
    held: &mut Held<'_>,
    step: &Step,
    division: &Division,
    items: usize,
    parts: &[Range<usize>],
    rank: usize,
) -> Action {
    let mut gather = Vec::new();
    let mut touched = step.inputs.iter().chain(&step.outputs).chain(&step.scratch);
    let finish = touched.any(|place| held.late.iter().any(|late| held.meet(late, place)));
    if finish {
        held.late.clear();
    }
    let by_items = |held: &Held<'_>, which: &[bool]| {
        step.inputs.iter().zip(which).any(|(place, &rows)| rows && held.kind(place).is_some())
    };
    let how = match division {
        Division::Rows { inputs } if by_items(held, inputs) => {
            // All ranks or none: what is gathered later must be the same everywhere.
            let each = parts.iter().map(|own| own_rows(step, inputs, items, own)).collect::<Option<Vec<_>>>();
            each.and_then(|each| each.into_iter().nth(rank)).map_or(How::Whole, How::Rows)
        }
        Division::Shared { inputs, .. } if by_items(held, inputs) => How::Shared,
        _ => How::Whole,
    };
    for (i, place) in step.inputs.iter().enumerate() {
        let rows = match (division, &how) {
            (_, How::Whole) | (Division::Whole, _) => false,
            (Division::Rows { inputs } | Division::Shared { inputs, .. }, _) => inputs[i],
        };
        if !rows || !held.has_rows(place) {
            held.whole(place, &mut gather);
        }
    }
    step.scratch.iter().for_each(|place| held.put(place, None));
    for (i, place) in step.outputs.iter().enumerate() {
        let of_items = step.output_specs[i].shape.dims().first() == Some(&items);
        let kind = match (division, &how) {
            (Division::Rows { .. }, How::Rows(_)) => Some(Kind::Own),
            (Division::Shared { outputs, .. }, How::Shared) if outputs[i] => Some(Kind::Own),
            // Others may go on by rows.
            _ => of_items.then_some(Kind::All),
        };
        held.put(place, kind);
    }
    if let How::Shared = how {
        held.late.extend(step.late().iter().map(|&i| step.outputs[i]));
    }
    Action { gather, finish, how }
}

/// The step on a rank's own rows, if its operation agrees.
fn own_rows(step: &Step, inputs: &[bool], items: usize, own: &Range<usize>) -> Option<Rows> {
    let Work::Run(op) = &step.work else { return None };
    let count = own.len();
    let cut = |place: &Place, rows: bool| match rows {
        true => {
            Place { offset: place.offset + place.len / items * own.start, len: place.len / items * count, ..*place }
        }
        false => *place,
    };
    let narrow = |spec: &Spec, rows: bool| match rows {
        true => Spec { shape: spec.shape.of_rows(items, count), dtype: spec.dtype },
        false => *spec,
    };
    let both = |places: &[Place], specs: &[Spec], which: &[bool]| -> (Vec<Place>, Vec<Spec>) {
        let each = places.iter().zip(specs).zip(which);
        each.map(|((place, spec), &rows)| (cut(place, rows), narrow(spec, rows))).unzip()
    };
    let all = vec![true; step.outputs.len()];
    let (input_places, input_specs) = both(&step.inputs, &step.input_specs, inputs);
    let (output_places, output_specs) = both(&step.outputs, &step.output_specs, &all);
    if count == 0 {
        return Some(Rows { op: None, inputs: input_places, outputs: output_places, input_specs, output_specs });
    }
    let op = op.of_rows(items, count).unwrap_or_else(|| op.clone());
    (op.outputs(&input_specs).is_ok_and(|made| made == output_specs)).then_some(Rows {
        op: Some(op),
        inputs: input_places,
        outputs: output_places,
        input_specs,
        output_specs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_one_ranks_and_no_piece_is_divided() {
        for items in 1..40 {
            for ranks in 1..9 {
                for each in [1, 2, 3, 8] {
                    let shared = Division::Shared { inputs: Vec::new(), outputs: Vec::new(), items: each };
                    let parts = parts(items, &[Division::Whole, shared], ranks);
                    assert_eq!(parts.len(), ranks);
                    assert_eq!(parts.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..items).collect::<Vec<_>>());
                    assert!(parts.iter().all(|part| part.start.is_multiple_of(each) || part.start == items));
                    let most = parts.iter().map(|part| part.len().div_ceil(each)).max().unwrap_or(0);
                    assert!(most <= items.div_ceil(each).div_ceil(ranks), "{items} items, {ranks} ranks: {parts:?}");
                }
            }
        }
        assert_eq!([least_common_multiple(4, 6), least_common_multiple(1, 7), least_common_multiple(8, 2)], [12, 7, 8]);
    }
}
