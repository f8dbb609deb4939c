//! The vectors that the kernels of the CPU use: the machine's widest, unless a program wants narrower ones.

use crate::error::{Error, Result};
use pulp::{Arch, Simd, WithSimd};
use std::sync::OnceLock;

/// Chosen once: what is laid out for vectors of one width must not be read by a kernel for another.
static CHOSEN: OnceLock<Arch> = OnceLock::new();

/// The instruction set that kernels run with. Under Miri it has no vectors: what they do, single numbers do, too.
#[inline(always)]
pub(crate) fn arch() -> Arch {
    *CHOSEN.get_or_init(|| if cfg!(miri) { Arch::Scalar } else { Arch::new() })
}

/// The width in bits of the vectors that kernels use.
pub fn width() -> usize {
    width_of(arch())
}

/// The widths in bits that kernels can have on this machine, the widest first. The last is that of a single number: no vectors.
pub fn widths() -> Vec<usize> {
    let mut widths: Vec<usize> = all().into_iter().map(width_of).collect();
    widths.dedup();
    widths
}

/// Makes kernels use vectors of this width from the start, as they would on a machine that has no wider ones: to see whether a result
/// depends on the machine, or how much vectors are worth. Results of different widths differ by rounding.
///
/// # Errors
/// Where it is none of [`widths`], or another has been chosen before, be it by a kernel that has run.
pub fn choose(bits: usize) -> Result<()> {
    let Some(arch) = all().into_iter().find(|&arch| width_of(arch) == bits) else {
        let widths: Vec<String> = widths().iter().map(usize::to_string).collect();
        let detail = format!("{bits} is none of them: this machine has vectors of {} bits", widths.join(", "));
        return Err(Error::value("vectors", detail));
    };
    match width_of(*CHOSEN.get_or_init(|| arch)) {
        chosen if chosen == bits => Ok(()),
        chosen => {
            let detail = format!("vectors of {bits} bits are asked for when kernels already have those of {chosen}");
            Err(Error::Device(detail))
        }
    }
}

/// What this machine can do, the widest first.
fn all() -> Vec<Arch> {
    let mut all = vec![Arch::new()];
    #[cfg(target_arch = "x86_64")]
    all.extend(pulp::x86::V3::try_new().map(Arch::V3));
    all.push(Arch::Scalar);
    all
}

fn width_of(arch: Arch) -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            8 * size_of::<S::f32s>()
        }
    }
    arch.dispatch(Width)
}
