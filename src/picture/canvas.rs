//! A drawing of boxes, lines, words and pictures, written as SVG or as PNG.

use super::markup::{base64, escape};
use crate::{Error, Result};
use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};
use std::fmt::Write;

/// Red, green and blue.
pub type Rgb = [u8; 3];

/// Which part of a text lies at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

#[derive(Debug)]
enum Item {
    Box { at: [f64; 4], colour: Rgb },
    Line { points: Vec<(f64, f64)>, width: f64, colour: Rgb },
    Text { at: (f64, f64), text: String, size: f64, align: Align, upwards: bool },
    Picture { at: [f64; 4], columns: usize, pixels: Vec<Rgb> },
}

/// A drawing on white ground, measured in pixels from the upper left corner; what comes later covers what was before.
#[derive(Debug)]
pub struct Canvas {
    width: u32,
    height: u32,
    items: Vec<Item>,
}

/// Of all words.
const INK: Rgb = [28, 28, 30];

impl Canvas {
    /// An empty drawing of this size in pixels.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, items: Vec::new() }
    }

    /// A filled box at x, y, of a width and height.
    pub fn fill(&mut self, at: [f64; 4], colour: Rgb) {
        self.items.push(Item::Box { at, colour });
    }

    /// A line through points.
    pub fn line(&mut self, points: Vec<(f64, f64)>, width: f64, colour: Rgb) {
        self.items.push(Item::Line { points, width, colour });
    }

    /// A text whose base line lies at (x, y).
    pub fn text(&mut self, at: (f64, f64), text: impl Into<String>, size: f64, align: Align) {
        self.items.push(Item::Text { at, text: text.into(), size, align, upwards: false });
    }

    /// A text that is read from below upwards, whose base line lies at x.
    pub fn text_upwards(&mut self, at: (f64, f64), text: impl Into<String>, size: f64, align: Align) {
        self.items.push(Item::Text { at, text: text.into(), size, align, upwards: true });
    }

    /// Pixels in rows of `columns` from the upper left, stretched over a box.
    pub fn picture(&mut self, at: [f64; 4], columns: usize, pixels: Vec<Rgb>) {
        self.items.push(Item::Picture { at, columns, pixels });
    }

    /// How wide a text is in pixels.
    pub fn width_of(text: &str, size: f64) -> f64 {
        font().map_or(0.0, |font| advance(&font, text, size))
    }

    /// A text that is no wider than so many pixels, with an ellipsis in its middle where it has to be cut.
    pub fn shortened(text: &str, size: f64, most: f64) -> String {
        let letters: Vec<char> = text.chars().collect();
        let cut = |kept: usize| -> String {
            match kept >= letters.len() {
                true => text.to_string(),
                false => letters[..kept.div_ceil(2)]
                    .iter()
                    .chain(&['\u{2026}'])
                    .chain(&letters[letters.len() - kept / 2..])
                    .collect(),
            }
        };
        (0..=letters.len()).rev().map(cut).find(|text| Self::width_of(text, size) <= most).unwrap_or_default()
    }

    /// The drawing as an SVG file.
    ///
    /// # Errors
    /// Where a picture cannot be packed.
    pub fn svg(&self) -> Result<String> {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"Ubuntu, Noto Sans, Helvetica, Arial, sans-serif\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
        );
        let hex = |[r, g, b]: Rgb| format!("#{r:02x}{g:02x}{b:02x}");
        for item in &self.items {
            let _ = match item {
                Item::Box { at: [x, y, w, h], colour } => {
                    writeln!(
                        svg,
                        "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" fill=\"{}\"/>",
                        hex(*colour)
                    )
                }
                Item::Line { points, width, colour } => {
                    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.2},{y:.2}")).collect();
                    let (points, colour) = (points.join(" "), hex(*colour));
                    writeln!(
                        svg,
                        "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
                    )
                }
                Item::Text { at: (x, y), text, size, align, upwards } => {
                    let anchor = match align {
                        Align::Start => "start",
                        Align::Middle => "middle",
                        Align::End => "end",
                    };
                    let turn =
                        if *upwards { format!(" transform=\"rotate(-90 {x:.2} {y:.2})\"") } else { String::new() };
                    // Whoever shows it may have another font, in which the words would be wider than there is room for.
                    let length = match measured(text, *size) {
                        Some(length) => format!(" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\""),
                        None => String::new(),
                    };
                    let (colour, text) = (hex(INK), escape(text));
                    writeln!(
                        svg,
                        "<text x=\"{x:.2}\" y=\"{y:.2}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\"{length}{turn}>{text}</text>"
                    )
                }
                Item::Picture { at: [x, y, w, h], columns, pixels } => {
                    let rows = pixels.len() / (*columns).max(1);
                    let png = pack(*columns as u32, rows as u32, pixels.as_flattened())?;
                    writeln!(
                        svg,
                        "<image x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" preserveAspectRatio=\"none\" \
                         href=\"data:image/png;base64,{}\"/>",
                        base64(&png)
                    )
                }
            };
        }
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    /// The drawing as a PNG file.
    ///
    /// # Errors
    /// Where it cannot be packed.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut raster = Raster::new(self.width as usize, self.height as usize);
        for item in &self.items {
            match item {
                Item::Box { at, colour } => raster.fill(*at, *colour),
                Item::Line { points, width, colour } => {
                    points.windows(2).for_each(|pair| raster.stroke(pair[0], pair[1], *width, *colour));
                }
                Item::Text { at, text, size, align, upwards } => raster.text(*at, text, *size, *align, *upwards),
                Item::Picture { at, columns, pixels } => raster.picture(*at, *columns, pixels),
            }
        }
        pack(self.width, self.height, raster.pixels.as_flattened())
    }
}

/// Three bytes a pixel as a PNG file.
fn pack(width: u32, height: u32, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = Vec::new();
    let mut encoder = png::Encoder::new(&mut packed, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(bytes));
    written.map_err(|e| Error::Data(format!("the picture cannot be packed: {e}")))?;
    Ok(packed)
}

/// The font for words in pictures that are made here: a machine may have none.
fn font() -> Option<FontRef<'static>> {
    // It is part of the program and a test draws with it; without it there would be a picture without words.
    FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).ok()
}

fn scale(font: &FontRef, size: f64) -> PxScale {
    // An em of so many pixels, as in SVG; the library scales by the height of a line.
    let units = font.units_per_em().unwrap_or(1000.0);
    PxScale::from(size as f32 * font.height_unscaled() / units)
}

fn advance(font: &FontRef, text: &str, size: f64) -> f64 {
    let scaled = font.as_scaled(scale(font, size));
    let mut before: Option<GlyphId> = None;
    let step = |glyph: GlyphId| {
        let kern = before.map_or(0.0, |before| scaled.kern(before, glyph));
        before = Some(glyph);
        kern + scaled.h_advance(glyph)
    };
    f64::from(text.chars().map(|c| font.glyph_id(c)).map(step).sum::<f32>())
}

/// How wide a text is whose letters are all in the font; none of others, and of one that is empty.
fn measured(text: &str, size: f64) -> Option<f64> {
    let font = font()?;
    let known = !text.is_empty() && text.chars().all(|c| font.glyph_id(c) != GlyphId(0));
    known.then(|| advance(&font, text, size))
}

struct Raster {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Raster {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![[255; 3]; width * height] }
    }

    /// Lays a colour over a pixel with some of its weight; beyond the drawing there is nothing to colour.
    fn blend(&mut self, x: i64, y: i64, colour: Rgb, weight: f64) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < self.width && y < self.height {
            let pixel = &mut self.pixels[y * self.width + x];
            for (old, new) in pixel.iter_mut().zip(colour) {
                *old = (f64::from(*old) + (f64::from(new) - f64::from(*old)) * weight.clamp(0.0, 1.0)).round() as u8;
            }
        }
    }

    fn fill(&mut self, [x, y, w, h]: [f64; 4], colour: Rgb) {
        // How much of a pixel lies within.
        let part = |pixel: i64, from: f64, to: f64| (to.min(pixel as f64 + 1.0) - from.max(pixel as f64)).max(0.0);
        for row in y.floor() as i64..(y + h).ceil() as i64 {
            for column in x.floor() as i64..(x + w).ceil() as i64 {
                self.blend(column, row, colour, part(row, y, y + h) * part(column, x, x + w));
            }
        }
    }

    /// A straight line: a pixel is covered as its middle is near.
    fn stroke(&mut self, a: (f64, f64), b: (f64, f64), width: f64, colour: Rgb) {
        let reach = width / 2.0 + 1.0;
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let squared = (dx * dx + dy * dy).max(1e-12);
        for y in (a.1.min(b.1) - reach).floor() as i64..=(a.1.max(b.1) + reach) as i64 {
            for x in (a.0.min(b.0) - reach).floor() as i64..=(a.0.max(b.0) + reach) as i64 {
                let (px, py) = (x as f64 + 0.5 - a.0, y as f64 + 0.5 - a.1);
                let along = ((px * dx + py * dy) / squared).clamp(0.0, 1.0);
                let distance = (px - along * dx).hypot(py - along * dy);
                self.blend(x, y, colour, width / 2.0 + 0.5 - distance);
            }
        }
    }

    fn text(&mut self, at: (f64, f64), text: &str, size: f64, align: Align, upwards: bool) {
        let Some(font) = font() else { return };
        let scaled = font.as_scaled(scale(&font, size));
        let mut along = match align {
            Align::Start => 0.0,
            Align::Middle => -advance(&font, text, size) / 2.0,
            Align::End => -advance(&font, text, size),
        } as f32;
        let mut before: Option<GlyphId> = None;
        for c in text.chars() {
            let glyph = font.glyph_id(c);
            along += before.map_or(0.0, |before| scaled.kern(before, glyph));
            before = Some(glyph);
            // Read upwards, what is right lies above, and what is below lies to the right.
            if let Some(outline) =
                scaled.outline_glyph(glyph.with_scale_and_position(scaled.scale(), point(along, 0.0)))
            {
                let bounds = outline.px_bounds();
                outline.draw(|x, y, weight| {
                    let (x, y) = (f64::from(bounds.min.x) + f64::from(x), f64::from(bounds.min.y) + f64::from(y));
                    let (x, y) = if upwards { (at.0 + y, at.1 - x - 1.0) } else { (at.0 + x, at.1 + y) };
                    self.blend(x.round() as i64, y.round() as i64, INK, f64::from(weight));
                });
            }
            along += scaled.h_advance(glyph);
        }
    }

    fn picture(&mut self, [x, y, w, h]: [f64; 4], columns: usize, pixels: &[Rgb]) {
        let rows = pixels.len() / columns.max(1);
        if rows == 0 {
            return;
        }
        for row in y.round() as i64..(y + h).round() as i64 {
            for column in x.round() as i64..(x + w).round() as i64 {
                let of = |at: i64, from: f64, size: f64, count: usize| {
                    (((at as f64 + 0.5 - from) / size * count as f64).max(0.0) as usize).min(count - 1)
                };
                let pixel = pixels[of(row, y, h, rows) * columns + of(column, x, w, columns)];
                self.blend(column, row, pixel, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(canvas: &Canvas) -> (u32, Vec<u8>) {
        let bytes = canvas.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, pixels)
    }

    #[test]
    fn boxes_lines_and_pictures_lie_where_they_should() {
        let mut canvas = Canvas::new(20, 10);
        canvas.fill([2.0, 1.0, 3.0, 2.0], [255, 0, 0]);
        canvas.line(vec![(10.5, 0.0), (10.5, 10.0)], 1.0, [0, 0, 255]);
        canvas.picture([14.0, 4.0, 4.0, 4.0], 2, vec![[1; 3], [2; 3], [3; 3], [4; 3]]);
        let (width, pixels) = pixels(&canvas);
        let at = |x: u32, y: u32| &pixels[3 * (y * width + x) as usize..][..3];
        assert_eq!(
            (at(2, 1), at(4, 2), at(5, 2), at(2, 3)),
            (&[255, 0, 0][..], &[255, 0, 0][..], &[255; 3][..], &[255; 3][..])
        );
        assert_eq!((at(10, 5), at(12, 5)), (&[0, 0, 255][..], &[255; 3][..]));
        assert_eq!([at(14, 4)[0], at(17, 4)[0], at(15, 7)[0], at(17, 7)[0]], [1, 2, 3, 4]);
    }

    #[test]
    fn words_keep_their_width_in_any_font() {
        let mut canvas = Canvas::new(200, 60);
        canvas.text((10.0, 20.0), "A4 & B4", 18.0, Align::Start);
        canvas.text((10.0, 40.0), "\u{6b4c}", 18.0, Align::Start);
        let (svg, wide) = (canvas.svg().unwrap(), Canvas::width_of("A4 & B4", 18.0));
        assert!(
            svg.contains(&format!(" textLength=\"{wide:.1}\" lengthAdjust=\"spacingAndGlyphs\">A4 &amp; B4<")),
            "{svg}"
        );
        // What the font does not know has whatever width it has.
        assert!(svg.contains("fill=\"#1c1c1e\">\u{6b4c}<"), "{svg}");
        assert_eq!(Canvas::shortened("short", 18.0, 100.0), "short");
        let cut = Canvas::shortened("a title that is far too long", 18.0, 100.0);
        assert!(cut.contains('\u{2026}') && cut.starts_with('a') && Canvas::width_of(&cut, 18.0) <= 100.0, "{cut}");
    }

    #[test]
    fn words_are_drawn_upright_and_upwards_and_within_their_width() {
        let ink = |canvas: &Canvas| -> Vec<(u32, u32)> {
            let (width, pixels) = pixels(canvas);
            let dark = |i: &usize| pixels[3 * i] < 128;
            (0..pixels.len() / 3).filter(dark).map(|i| (i as u32 % width, i as u32 / width)).collect()
        };
        let mut canvas = Canvas::new(200, 60);
        canvas.text((100.0, 40.0), "Frequency", 20.0, Align::Middle);
        let (upright, wide) = (ink(&canvas), Canvas::width_of("Frequency", 20.0));
        assert!(upright.len() > 100 && (70.0..120.0).contains(&wide), "{} {wide}", upright.len());
        let reach = |points: &[(u32, u32)], of: fn(&(u32, u32)) -> u32| {
            points.iter().map(of).max().unwrap_or(0) - points.iter().map(of).min().unwrap_or(0)
        };
        assert!((f64::from(reach(&upright, |p| p.0)) - wide).abs() < 5.0 && reach(&upright, |p| p.1) < 22);
        let mut canvas = Canvas::new(60, 200);
        canvas.text_upwards((40.0, 100.0), "Frequency", 20.0, Align::Middle);
        let upwards = ink(&canvas);
        assert!(reach(&upwards, |p| p.1).abs_diff(reach(&upright, |p| p.0)) <= 2 && reach(&upwards, |p| p.0) < 22);
    }

    #[test]
    fn names_cannot_break_an_svg() {
        let mut canvas = Canvas::new(20, 10);
        canvas.text((1.0, 9.0), "<script>\"&", 8.0, Align::Start);
        let svg = canvas.svg().unwrap();
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;&quot;&amp;</text>"), "{svg}");
    }
}
