//! Line charts as inline SVG.

use std::fmt::Write;

/// One line of a chart.
pub struct Line<'a> {
    /// The CSS class: `one` or `two`.
    pub class: &'a str,
    /// What it shows.
    pub name: &'a str,
    /// Points (x, y) in order of x; points whose y is not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Whether points are drawn as dots, and not joined.
    pub dots: bool,
}

/// A chart.
#[derive(Default)]
pub struct Chart<'a> {
    /// The heading.
    pub title: &'a str,
    /// What the horizontal axis counts.
    pub x_name: &'a str,
    /// The lines.
    pub lines: Vec<Line<'a>>,
    /// A dashed horizontal line, with its name.
    pub rule: Option<(&'a str, f64)>,
    /// Fixed ends of the vertical axis; the data's where there are none.
    pub range: Option<(f64, f64)>,
    /// Whether the values are shares, to be written in percent.
    pub percent: bool,
    /// A dotted vertical line, with its name.
    pub mark: Option<(&'a str, f64)>,
    /// Whether the horizontal axis is of shares as well, from 0 to 1, in percent.
    pub x_percent: bool,
    /// Vertical strokes (x, from, to): how far the truth may lie from a dot.
    pub bars: Vec<(f64, f64, f64)>,
    /// Whether a dashed line leads from corner to corner, where both axes are the same.
    pub diagonal: Option<&'a str>,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;
/// Lines of more points than this have no labels under the pointer: the points would be too close together.
const MOST_HITS: usize = 200;

/// About `count` round numbers from `low` to `high`.
pub fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count as f64;
    if rough.is_nan() || rough <= 0.0 || !rough.is_finite() {
        return vec![low];
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|f| f * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

fn label(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.0e}"),
        _ => format!("{}", (value * 1e4).round() / 1e4),
    }
}

impl Chart<'_> {
    fn label(&self, value: f64) -> String {
        if self.percent { format!("{} %", label(100.0 * value)) } else { label(value) }
    }

    fn exact(&self, value: f64) -> String {
        if self.percent { format!("{:.1} %", 100.0 * value) } else { format!("{value:.4}") }
    }

    /// The chart as a `figure`.
    pub fn html(&self) -> String {
        let points = || self.lines.iter().flat_map(|l| &l.points).filter(|p| p.1.is_finite());
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
        };
        let (x0, mut x1) = match self.x_percent {
            true => (0.0, 1.0),
            false => ends(&mut points().map(|p| p.0)),
        };
        let (mut y0, mut y1) = self.range.unwrap_or_else(|| {
            let (low, high) = ends(&mut points().map(|p| p.1));
            (if low > 0.0 && low < high * 0.5 { 0.0 } else { low }, high)
        });
        let mut html = format!("<figure><figcaption>{}", self.title);
        for line in &self.lines {
            let _ = write!(html, "<span class=\"key-{}\">&#9644; {}</span>", line.class, line.name);
        }
        for name in self.rule.map(|(name, _)| name).into_iter().chain(self.diagonal) {
            let _ = write!(html, "<span class=\"soft\">&#9476; {name}</span>");
        }
        if let Some((name, _)) = self.mark {
            let _ = write!(html, "<span class=\"soft\">&#8942; {name}</span>");
        }
        html.push_str("</figcaption>");
        if points().next().is_none() {
            html.push_str("<p class=\"soft\">nothing to draw yet</p></figure>");
            return html;
        }
        if x1 <= x0 {
            x1 = x0 + 1.0;
        }
        if y1 <= y0 {
            (y0, y1) = (y0 - 0.5, y0 + 0.5);
        }
        let px = |x: f64| LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
        let py = |y: f64| HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
        let _ = write!(
            html,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} by {}\">",
            self.title, self.x_name
        );
        for y in ticks(y0, y1, 5) {
            let _ = write!(
                html,
                "<path class=\"grid\" d=\"M{LEFT} {0:.1}H{1}\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
                py(y),
                WIDTH - RIGHT,
                LEFT - 5.0,
                py(y) + 3.5,
                self.label(y)
            );
        }
        for x in ticks(x0, x1, 6).into_iter().filter(|x| self.x_percent || x.fract() == 0.0) {
            let _ = write!(
                html,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{}\">{}</text>",
                px(x),
                HEIGHT - BOTTOM + 14.0,
                // Long names would touch the other axis's, or be cut off.
                match (self.x_percent, x - x0 < 1e-9, x1 - x < 1e-9) {
                    (true, true, _) => "start",
                    (true, _, true) => "end",
                    _ => "middle",
                },
                if self.x_percent { format!("{:.0} %", 100.0 * x) } else { label(x) }
            );
        }
        let _ = write!(
            html,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 4.0,
            self.x_name
        );
        if let Some((_, y)) = self.rule {
            let _ = write!(html, "<path class=\"rule\" d=\"M{LEFT} {:.1}H{}\"/>", py(y), WIDTH - RIGHT);
        }
        if let Some((_, x)) = self.mark.filter(|mark| (x0..=x1).contains(&mark.1)) {
            let _ = write!(html, "<path class=\"mark\" d=\"M{:.1} {TOP}V{}\"/>", px(x), HEIGHT - BOTTOM);
        }
        if self.diagonal.is_some() {
            let _ =
                write!(html, "<path class=\"rule\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>", px(x0), py(y0), px(x1), py(y1));
        }
        for &(x, low, high) in &self.bars {
            let (low, high) = (py(low.clamp(y0, y1)), py(high.clamp(y0, y1)));
            let _ = write!(html, "<path class=\"bar\" d=\"M{:.1} {low:.1}V{high:.1}\"/>", px(x));
        }
        for line in &self.lines {
            let finite: Vec<&(f64, f64)> = line.points.iter().filter(|p| p.1.is_finite()).collect();
            if !line.dots {
                let mut path = String::new();
                for (i, &&(x, y)) in finite.iter().enumerate() {
                    let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, px(x), py(y.clamp(y0, y1)));
                }
                let _ = write!(html, "<path class=\"{}\" d=\"{path}\"/>", line.class);
            }
            for &&(x, y) in finite.iter().filter(|_| line.dots || finite.len() == 1) {
                let _ = write!(
                    html,
                    "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
                    line.class,
                    px(x),
                    py(y)
                );
            }
            let hits = if finite.len() > MOST_HITS { &[][..] } else { &finite[..] };
            for &&(x, y) in hits {
                let (x_at, y_at, value) = (px(x), py(y.clamp(y0, y1)), self.exact(y));
                let (axis, name) = (self.x_name, line.name);
                let x = if self.x_percent { format!("{:.1} %", 100.0 * x) } else { x.to_string() };
                let _ = write!(
                    html,
                    "<circle class=\"hit\" cx=\"{x_at:.1}\" cy=\"{y_at:.1}\" r=\"4\"><title>{axis} {x}: {name} {value}</title></circle>"
                );
            }
        }
        html.push_str("</svg></figure>");
        html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(1.0, 30.0, 6), [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(ticks(2.0, 2.0, 5), [2.0]);
    }

    #[test]
    fn an_empty_chart_and_a_single_point_are_drawn() {
        let chart = |points| Chart {
            title: "loss",
            x_name: "epoch",
            lines: vec![Line { class: "one", name: "training", points, dots: false }],
            percent: true,
            mark: Some(("kept", 1.0)),
            ..Chart::default()
        };
        assert!(chart(vec![]).html().contains("nothing to draw"));
        assert!(chart(vec![(1.0, f64::NAN)]).html().contains("nothing to draw"));
        let html = chart(vec![(1.0, 0.5)]).html();
        assert!(html.contains("<circle") && !html.contains("NaN"), "{html}");
        assert_eq!(
            html.matches("M").count() - html.matches("class=\"grid\"").count() - html.matches("class=\"mark\"").count(),
            1
        );
        assert!(html.contains("epoch 1: training 50.0 %") && html.contains("class=\"mark\""), "{html}");
    }
}
