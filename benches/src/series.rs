//! What more and more input costs, as a table and as a drawing.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::callgrind::Cost;
use crate::table::pair;

/// What is counted, in words, by the name of the series.
const TITLES: [(&str, &str); 5] = [
    ("tags", "tags of 119 characters each"),
    ("alike", "the same, with names that differ in the middle alone"),
    ("members", "members of `tracestate`, of 30 characters each"),
    ("lines-tags", "lines of tags, in a `HeaderMap` with a `traceparent`"),
    ("lines-tracestate", "lines of `tracestate`, in a `HeaderMap` with a `traceparent`"),
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

    fn titled(&self) -> impl Iterator<Item = (&'static str, &[(u32, &'a Cost)])> {
        TITLES.iter().filter_map(|(name, title)| Some((*title, self.0.get(name)?.as_slice())))
    }

    /// Lists of `count: instructions, allocations`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (title, points) in self.titled() {
            let _ = writeln!(text, "{title}:");
            for (count, cost) in points {
                let _ = writeln!(text, "{count:>6}: {}", pair(cost.amount, cost.allocations));
            }
        }
        text
    }

    /// A chart of each series: instructions over count.
    pub(crate) fn svg(&self) -> String {
        const WIDTH: f64 = 400.0;
        const HEIGHT: f64 = 220.0;
        let mut charts = String::new();
        let places = [(0.0, 0.0), (WIDTH, 0.0), (2.0 * WIDTH, 0.0), (0.0, HEIGHT), (WIDTH, HEIGHT)];
        for ((title, points), (left, top)) in self.titled().zip(places) {
            let most = points.iter().map(|(_, cost)| cost.amount).fold(1.0, f64::max);
            let last = points.iter().map(|(count, _)| f64::from(*count)).fold(1.0, f64::max);
            let place = |(count, cost): &(u32, &Cost)| {
                (50.0 + f64::from(*count) / last * 330.0, 180.0 - cost.amount / most * 140.0)
            };
            let line: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                charts,
                r##"<g transform="translate({left} {top})">
<text x="50" y="20">{}</text>
<path d="M50 40V180H380" fill="none" stroke="#888"/>
<polyline points="{}" fill="none" stroke="#06c" stroke-width="2"/>
<text x="45" y="45" text-anchor="end">{most:.0}</text><text x="45" y="184" text-anchor="end">0</text>
<text x="380" y="198" text-anchor="end">{last:.0}</text>
</g>"##,
                title.replace('`', ""),
                line.join(" "),
            );
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" \
             font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{charts}</svg>\n",
            3.0 * WIDTH,
            2.0 * HEIGHT,
        )
    }
}
