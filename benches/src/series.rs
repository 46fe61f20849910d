//! What more and more input costs, as a table and as a drawing.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::callgrind::Cost;
use crate::table::{pair, thousands};

/// What is counted, in words, by the name of the series, and for those that are drawn, what the limit is that ends it.
const TITLES: [(&str, &str, Option<&str>); 5] = [
    ("tags", "tags of 119 characters each", Some("25 tags are the limit")),
    ("alike", "the same, with names that differ only in the middle", None),
    ("members", "members of `tracestate`, of 30 characters each", Some("32 members are the limit")),
    (
        "lines-tags",
        "lines of tags, in a `HeaderMap` with a `traceparent`",
        Some("read up to 3,000 characters, then rejected"),
    ),
    (
        "lines-tracestate",
        "lines of `tracestate`, in a `HeaderMap` with a `traceparent`",
        Some("read up to 16,447 characters, then dropped"),
    ),
];

/// Each series by its name: counts of input, and what they cost.
pub(crate) struct Series<'a>(BTreeMap<&'a str, Vec<(u32, &'a Cost)>>);

impl<'a> Series<'a> {
    /// Takes the cases that are named `series-NAME-COUNT`.
    pub(crate) fn of(costs: &'a [Cost]) -> Self {
        let mut series = BTreeMap::<_, Vec<_>>::new();
        for cost in costs {
            let Some((name, count)) = cost.work.strip_prefix("series-").and_then(|work| work.rsplit_once('-')) else {
                continue;
            };
            series.entry(name).or_default().extend(count.parse().map(|count| (count, cost)));
        }
        Self(series)
    }

    /// Lists of `count: instructions, allocations`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, title, _) in TITLES {
            let Some(points) = self.0.get(name) else { continue };
            let _ = writeln!(text, "{title}:");
            for (count, cost) in points {
                let _ = writeln!(text, "{count:>6}: {}", pair(cost.amount, cost.allocations));
            }
        }
        text
    }

    /// A chart of each series: instructions over count. As a picture it follows the theme of the system, and inside of a
    /// page the color of the page's text; so it has no blank line, which would end it in Markdown.
    pub(crate) fn svg(&self) -> String {
        let drawn = TITLES.iter().filter_map(|(name, title, limit)| Some((*title, (*limit)?, self.0.get(name)?)));
        let mut charts = String::new();
        for ((title, limit, points), (left, top)) in drawn.zip([(0, 0), (460, 0), (0, 250), (460, 250)]) {
            let points: Vec<_> = points.iter().map(|(count, cost)| (f64::from(*count), cost.amount)).collect();
            let _ = writeln!(charts, "<g transform=\"translate({left} {top})\">\n{}</g>", chart(title, limit, &points));
        }
        format!("{HEAD}{charts}</svg>\n")
    }
}

const HEAD: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 500" width="920" role="img" aria-label="Instructions over the number of tags, members and lines" font-family="system-ui, sans-serif" font-size="12" fill="currentColor" style="max-width: 100%; height: auto">
<style>
svg:root { color: #1f2328 }
@media (prefers-color-scheme: dark) { svg:root { color: #e6edf3 } }
.cost-title { font-size: 14px; font-weight: 600 }
.cost-grid { stroke: currentColor; stroke-opacity: .18 }
.cost-note { opacity: .75 }
.cost-line { fill: none; stroke: #3b82f6; stroke-width: 2; stroke-linejoin: round }
.cost-dots { fill: #3b82f6 }
</style>
"#;

/// One chart: a grid with round numbers, a line, and a dot for each count.
fn chart(title: &str, limit: &str, points: &[(f64, f64)]) -> String {
    const LEFT: f64 = 70.0;
    const RIGHT: f64 = 440.0;
    const TOP: f64 = 50.0;
    const BOTTOM: f64 = 205.0;
    let (step_x, last) = steps(points.iter().map(|point| point.0));
    let (step_y, most) = steps(points.iter().map(|point| point.1));
    let place_x = |count: f64| LEFT + count / last * (RIGHT - LEFT);
    let place_y = |amount: f64| BOTTOM - amount / most * (BOTTOM - TOP);
    let mut text = format!(
        "<text x=\"{LEFT}\" y=\"20\" class=\"cost-title\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"37\" class=\"cost-note\">instructions; {limit}</text>\n",
        title.split(", in a ").next().unwrap_or(title).replace('`', ""),
    );
    for tick in ticks(step_y, most) {
        let (y, number) = (place_y(tick), thousands(tick));
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" class=\"cost-grid\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{number}</text>",
            LEFT - 8.0,
            y + 4.0,
        );
    }
    for tick in ticks(step_x, last) {
        let (x, number) = (place_x(tick), thousands(tick));
        let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{number}</text>", BOTTOM + 18.0);
    }
    let places: Vec<_> = points.iter().map(|&(x, y)| format!("{:.1},{:.1}", place_x(x), place_y(y))).collect();
    let _ = writeln!(text, "<polyline points=\"{}\" class=\"cost-line\"/>", places.join(" "));
    let dots =
        points.iter().map(|&(x, y)| format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>", place_x(x), place_y(y)));
    let _ = writeln!(text, "<g class=\"cost-dots\">{}</g>", dots.collect::<String>());
    text
}

/// A round step, of which at most five reach over all numbers, and where the last one ends.
fn steps(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    let most = numbers.fold(1.0, f64::max);
    let power = 10_f64.powf((most / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| step * 5.0 >= most);
    let step = step.unwrap_or(most);
    (step, (most / step).ceil() * step)
}

fn ticks(step: f64, last: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |tick| f64::from(tick) * step).take_while(move |&tick| tick <= last)
}
