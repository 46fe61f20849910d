//! How long the texts of a record may be: [`TextLimits`].

use std::borrow::Cow;

use http::Method;

use crate::model::record::{MAX_SENT, Notes, Operation, Record};
use crate::model::text::boundary;

/// How long the texts of a record may be, in bytes. Of a longer one, only the start is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextLimits {
    /// Each text.
    pub(crate) text: usize,
    /// `stdout`, `stderr` and `payload` together.
    pub(crate) output: usize,
}

impl Default for TextLimits {
    fn default() -> Self {
        Self { text: 8 << 10, output: 3 << 20 }
    }
}

/// The maximum number of counters, and of names in the path of a database.
const MAX_LIST: usize = 64;

/// What is kept of a text if there is no room for more.
const SHORT: usize = 128;

/// What the marks of texts that were cut weigh, at most.
const MARKS: usize = 1_024;

/// The longest method that is kept. Registered ones have at most 17 bytes.
const MAX_METHOD: usize = 64;

/// Cuts texts, and notes which ones.
struct Scissors<'a> {
    most: usize,
    cut: &'a mut Vec<Cow<'static, str>>,
}

impl Record {
    /// Cuts what is longer than the limits. Marks of what was cut before stay.
    ///
    /// What says whose a record is, and who may read it, is left out instead: a part of it might be somebody else's.
    pub(crate) fn limit(&mut self, limits: &TextLimits) {
        let Self { request, response, service, host, sent, notes, cut, .. } = self;
        let mut scissors = Scissors { most: limits.text, cut };
        scissors.method(&mut request.method);
        scissors.text("path", &mut request.path);
        scissors.optional("route", &mut request.route);
        for (name, value) in &mut request.headers {
            scissors.text_of(|| format!("headers.{name}").into(), value);
        }
        scissors.optional("authority", &mut request.authority);
        scissors.optional("error", &mut response.error);
        scissors.name("service", service);
        scissors.name("host", host);
        scissors.list("sent", sent, MAX_SENT);
        scissors.notes(notes);
        self.cut_output(limits.output);
    }

    /// Returns the record within the limits: itself, if nothing is cut.
    pub(crate) fn within(&self, limits: &TextLimits) -> Cow<'_, Self> {
        let lists = [self.notes.counters.len(), self.notes.database.len(), self.sent.len()];
        let is_short =
            self.weight() <= limits.text.min(limits.output) && lists.iter().all(|&length| length <= MAX_LIST);
        if is_short && self.request.method.as_str().len() <= MAX_METHOD {
            return Cow::Borrowed(self);
        }
        let mut record = self.clone();
        record.limit(limits);
        Cow::Owned(record)
    }

    /// Cuts output until the record has at most this weight; if that is not enough, what the service added too.
    pub(crate) fn shrink(&mut self, to: usize) {
        let Notes { stdout, stderr, payload, .. } = &self.notes;
        let output: usize = [stdout, stderr, payload].into_iter().flatten().map(String::len).sum();
        let weight = self.weight();
        if weight <= to {
            return;
        }
        let to = to.saturating_sub(MARKS);
        self.cut_output(output.saturating_sub(weight - to));
        if weight - output > to {
            let mut scissors = Scissors { most: SHORT, cut: &mut self.cut };
            scissors.optional("error", &mut self.response.error);
            scissors.list("counters", &mut self.notes.counters, 0);
            scissors.list("database", &mut self.notes.database, 0);
            scissors.notes(&mut self.notes);
        }
    }

    /// Cuts `stdout`, `stderr` and `payload` until they have at most this many bytes together. The longest are cut
    /// first.
    pub(crate) fn cut_output(&mut self, to: usize) {
        let Notes { stdout, stderr, payload, .. } = &mut self.notes;
        let mut lengths = [&*stdout, &*stderr, &*payload].map(|text| text.as_ref().map_or(0, String::len));
        lengths.sort_unstable();
        let mut room = to;
        let mut most = usize::MAX;
        for (length, sharing) in lengths.into_iter().zip([3, 2, 1]) {
            if length > room / sharing {
                most = room / sharing;
                break;
            }
            room -= length;
        }
        let mut scissors = Scissors { most, cut: &mut self.cut };
        scissors.optional("stdout", stdout);
        scissors.optional("stderr", stderr);
        scissors.optional("payload", payload);
    }
}

impl Scissors<'_> {
    fn mark(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        if !self.cut.contains(&name) {
            self.cut.push(name);
        }
    }

    fn text(&mut self, name: &'static str, text: &mut String) {
        self.text_of(|| name.into(), text);
    }

    fn text_of(&mut self, name: impl FnOnce() -> Cow<'static, str>, text: &mut String) {
        if text.len() > self.most {
            // A copy, since a text that is truncated keeps its memory.
            *text = text[..boundary(text, self.most)].to_owned();
            self.mark(name());
        }
    }

    fn optional(&mut self, name: &'static str, text: &mut Option<String>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn name(&mut self, name: &'static str, text: &mut Option<Cow<'static, str>>) {
        if let Some(text) = text.as_mut().filter(|text| text.len() > self.most) {
            self.text(name, text.to_mut());
        }
    }

    fn method(&mut self, method: &mut Method) {
        if let Some(start) =
            method.as_str().as_bytes().get(..MAX_METHOD).filter(|start| start.len() < method.as_str().len())
        {
            *method = Method::from_bytes(start).unwrap_or_default();
            self.mark("method");
        }
    }

    fn list<T>(&mut self, name: &'static str, list: &mut Vec<T>, most: usize) {
        if list.len() > most {
            list.truncate(most);
            list.shrink_to_fit();
            self.mark(name);
        }
    }

    fn notes(&mut self, notes: &mut Notes) {
        let Notes { caller, operation, database, region_group, counters, shape, shared_token, .. } = notes;
        self.whole("caller.user_id", &mut caller.user_id);
        self.whole("caller.user_email", &mut caller.user_email);
        self.whole("caller.exec_env_id", &mut caller.exec_env_id);
        let Operation { id, name, engine, .. } = operation;
        self.optional("operation.id", id);
        self.optional("operation.name", name);
        self.optional("operation.engine", engine);
        // The path of a database above it: those that may read that may read this one too.
        let whole = database.iter().position(|name| name.len() > self.most).unwrap_or(usize::MAX);
        self.list("database", database, whole.min(MAX_LIST));
        self.whole("region_group", region_group);
        self.whole("shared_token", shared_token);
        self.optional("shape", shape);
        let count = counters.len();
        counters.retain(|(name, _)| name.len() <= self.most);
        if counters.len() < count {
            self.mark("counters");
        }
        self.list("counters", counters, MAX_LIST);
    }

    /// Leaves a text out if it is too long.
    fn whole(&mut self, name: &'static str, text: &mut Option<String>) {
        if text.take_if(|text| text.len() > self.most).is_some() {
            self.mark(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::USER_AGENT;
    use tagtrail::{Sample, Trail};

    use super::*;
    use crate::model::record::Caller;

    const LIMITS: TextLimits = TextLimits { text: 100, output: 300 };

    fn long() -> String {
        "é".repeat(80)
    }

    fn full() -> Record {
        let mut record = Record::new(&Trail::start(Sample::Always), long());
        let some = || Some(long());
        record.request.method = "X".repeat(80).parse().unwrap();
        (record.request.route, record.request.authority, record.response.error) = (some(), some(), some());
        record.request.headers = vec![(USER_AGENT, long())];
        (record.host, record.service) = (Some(long().into()), Some(long().into()));
        record.sent = vec![record.span_id; 70];
        let notes = &mut record.notes;
        (notes.caller.user_id, notes.caller.user_email, notes.caller.exec_env_id) = (some(), some(), some());
        (notes.operation.id, notes.operation.name, notes.operation.engine) = (some(), some(), some());
        notes.database = vec!["a".into(), long(), "b".into()];
        (notes.region_group, notes.shape, notes.shared_token) = (some(), some(), some());
        notes.counters = (0..70).map(|number| (number.to_string().into(), 1)).collect();
        (notes.stdout, notes.stderr, notes.payload) = (some(), some(), some());
        record
    }

    #[test]
    fn every_text_is_cut_and_marked_once() {
        let mut record = full();
        record.limit(&LIMITS);
        let names = [
            "method path route headers.user-agent authority error service host sent",
            "caller.user_id caller.user_email caller.exec_env_id operation.id operation.name operation.engine",
            "database region_group shared_token shape counters stdout stderr payload",
        ];
        assert_eq!(record.cut, names.join(" ").split(' ').collect::<Vec<_>>());
        assert_eq!(record.request.method.as_str().len(), 64);
        let start = "é".repeat(50);
        for text in [&record.request.route, &record.request.authority, &record.response.error, &record.notes.stdout] {
            assert_eq!(text.as_deref(), Some(&*start));
        }
        assert_eq!((&record.request.path, &record.request.headers[0].1), (&start, &start));
        assert_eq!((record.notes.counters.len(), record.sent.len()), (64, 64));
        assert_eq!(record.notes.database, ["a"]);
        assert_eq!(record.notes.caller, Caller::default(), "a part of an id might be another id");

        let once = record.clone();
        record.limit(&LIMITS);
        assert_eq!(record, once);
    }

    #[test]
    fn record_within_the_limits_is_itself() {
        let record = Record::new(&Trail::start(Sample::Always), "/");
        assert!(matches!(record.within(&TextLimits::default()), Cow::Borrowed(_)));
        let long = full();
        let mut expected = long.clone();
        expected.limit(&LIMITS);
        assert_eq!(*long.within(&LIMITS), expected);
    }

    #[test]
    fn record_shrinks_to_its_room_by_its_output_first() {
        let mut record = Record::new(&Trail::start(Sample::Always), "/");
        record.notes.operation.name = Some("x".repeat(1_000));
        let weight = record.weight();
        record.notes.stdout = Some("x".repeat(50_000));
        record.shrink(weight + 10_000);
        assert_eq!(record.cut, ["stdout"]);
        assert!((weight + 8_000..=weight + 10_000).contains(&record.weight()), "{}", record.weight());
        let once = record.clone();
        record.shrink(weight + 10_000);
        assert_eq!(record, once, "it is small enough");
        let mut record = full();
        let start = Record::new(&Trail::start(Sample::Always), long()).weight();
        record.notes.counters = (0..64).map(|number| (format!("{number}{}", "x".repeat(8_000)).into(), 1)).collect();
        record.notes.operation.name = Some("x".repeat(8_000));
        record.shrink(start + 8_192);
        assert!(record.weight() < start + 8_192, "{}", record.weight());
        assert_eq!(record.request.path, long());
    }

    #[test]
    fn longest_output_is_cut_first() {
        for (lengths, to, expected, marked) in [
            ([10, 20, 30], 60, [10, 20, 30], ""),
            ([10, 20, 30], 59, [10, 20, 29], "payload"),
            ([10, 20, 30], 40, [10, 15, 15], "stderr payload"),
            ([30, 20, 10], 12, [4, 4, 4], "stdout stderr payload"),
            ([0, 100, 0], 7, [0, 7, 0], "stderr"),
            ([5, 5, 5], 0, [0, 0, 0], "stdout stderr payload"),
            ([0, 0, 0], 0, [0, 0, 0], ""),
        ] {
            let mut record = Record::new(&Trail::start(Sample::Always), "/");
            let [stdout, stderr, payload] = lengths.map(|length| Some("x".repeat(length)));
            (record.notes.stdout, record.notes.stderr, record.notes.payload) = (stdout, stderr, payload);
            record.cut_output(to);
            let notes = &record.notes;
            let lengths = [&notes.stdout, &notes.stderr, &notes.payload].map(|text| text.as_ref().unwrap().len());
            assert_eq!((lengths, record.cut.join(" ")), (expected, marked.to_owned()), "{to}");
        }
        let mut record = Record::new(&Trail::start(Sample::Always), "/");
        record.notes.stdout = Some("aé".into());
        record.cut_output(2);
        assert_eq!(record.notes.stdout.as_deref(), Some("a"), "at the end of a character");
    }
}
