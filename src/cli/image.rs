//! Pictures that commands write: which kind a file's name asks for.

use crate::picture::canvas::Canvas;
use crate::{Error, Result};
use std::path::Path;

/// Whether an image's name ends as one that can be drawn.
pub(super) fn is_image(path: &Path) -> bool {
    is_svg(path) || path.extension().is_some_and(|end| end.eq_ignore_ascii_case("png"))
}

/// Whether it is one of lines, not of pixels.
pub(super) fn is_svg(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("svg"))
}

/// A picture as SVG or PNG.
///
/// # Errors
/// Where it cannot be packed.
pub(super) fn encoded(canvas: &Canvas, svg: bool) -> Result<Vec<u8>> {
    if svg { canvas.svg().map(String::into_bytes) } else { canvas.png() }
}

/// The error of an option that names no image.
pub(super) fn no_image(option: &str, path: &Path) -> Error {
    Error::usage(option, format!("{} ends neither in .png nor in .svg", path.display()))
}
