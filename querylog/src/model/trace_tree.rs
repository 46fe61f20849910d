//! The requests of a trace as a tree: [`TraceTree`].

#[cfg(feature = "store")]
use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::coverage::Coverage;
use crate::model::record::Record;
use crate::model::window::Window;

/// The requests of a trace, across services.
///
/// A request is below the one that sent it, which is found by the parent-ids that are recorded as sent. If the sender
/// is not found, the request is a root: the sender may not be a service of yours, may not have been sampled, or may
/// have sent more than the 64 requests that a record lists. Requests with the same sender are in the order in which
/// they started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceTree {
    /// The requests, each before those that it sent.
    #[serde(rename = "items")]
    pub requests: Vec<TraceNode>,
    /// Whether these are all requests of the trace. At most [`TraceTree::MOST`] are read.
    pub complete: bool,
    /// What is missing from the [window](Self::window) of the trace.
    #[serde(flatten)]
    pub coverage: Coverage,
}

/// A request of a [`TraceTree`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceNode {
    /// The depth in the tree: 0 for a root.
    pub depth: usize,
    /// The index of its sender in [`TraceTree::requests`]; `None` for a root.
    pub parent: Option<usize>,
    /// The request, without its output.
    #[serde(rename = "request")]
    pub record: Record,
}

impl TraceTree {
    /// The maximum number of requests of a trace that are read.
    pub const MOST: usize = 5_000;

    /// Returns the window in which a request of the trace may be missing: from a minute before the first start to a
    /// minute after the last end of those that were found. All of time if there are none.
    pub fn window(&self) -> Window {
        const MARGIN: Duration = Duration::from_secs(60);
        let end = |record: &Record| record.start_time.saturating_add(record.duration.unwrap_or_default());
        let records = || self.requests.iter().map(|request| &request.record);
        let first = records().map(|record| record.start_time).min();
        match first.zip(records().map(end).max()) {
            Some((first, last)) => Window::from(first.saturating_sub(MARGIN)..=last.saturating_add(MARGIN)),
            None => Window::ALL,
        }
    }

    /// Creates the tree of records, which are sorted by time.
    #[cfg(feature = "store")]
    pub(crate) fn of(records: Vec<Record>, complete: bool) -> Self {
        let below = children(&records);
        let mut order = Vec::with_capacity(records.len());
        // A stack instead of recursion, since a chain may be as long as a trace.
        let mut stack: Vec<(usize, usize, Option<usize>)> = Vec::new();
        let mut seen = vec![false; records.len()];
        let is_child = below.iter().flatten().fold(vec![false; records.len()], |mut is_child, &child| {
            is_child[child] = true;
            is_child
        });
        let roots = (0..records.len()).filter(|&index| !is_child[index]);
        // The others form cycles, which only invented ids can: the first request of each is a root.
        for root in roots.chain(0..records.len()) {
            stack.push((root, 0, None));
            while let Some((index, depth, parent)) = stack.pop() {
                if std::mem::replace(&mut seen[index], true) {
                    continue;
                }
                let here = order.len();
                order.push((index, depth, parent));
                stack.extend(below[index].iter().rev().map(|&child| (child, depth + 1, Some(here))));
            }
        }
        let mut records: Vec<Option<Record>> = records.into_iter().map(Some).collect();
        let requests = order
            .into_iter()
            .filter_map(|(index, depth, parent)| Some(TraceNode { depth, parent, record: records[index].take()? }));
        Self { requests: requests.collect(), complete, coverage: Coverage::default() }
    }
}

/// Returns for each record the indexes of those below it, sorted by time.
#[cfg(feature = "store")]
fn children(records: &[Record]) -> Vec<Vec<usize>> {
    let senders: HashMap<_, _> = records
        .iter()
        .enumerate()
        .rev()
        .flat_map(|(index, record)| record.sent.iter().chain([&record.span_id]).map(move |id| (*id, index)))
        .collect();
    let mut below = vec![Vec::new(); records.len()];
    for (index, record) in records.iter().enumerate() {
        let sender = record.parent_id.and_then(|id| senders.get(&id));
        if let Some(&sender) = sender.filter(|&&sender| sender != index) {
            below[sender].push(index);
        }
    }
    below
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use tagtrail::{ParentId, Sample, Trail};

    use super::*;

    fn id(number: u64) -> ParentId {
        format!("{number:016x}").parse().unwrap()
    }

    /// Shows the tree of records with a name, a span id, a parent-id, and the parent-ids that were sent.
    fn tree(records: &[(&str, u64, u64, &[u64])]) -> String {
        let trail = Trail::start(Sample::Always);
        let records = records.iter().map(|(name, own, caller, sent)| Record {
            span_id: id(*own),
            parent_id: (*caller > 0).then(|| id(*caller)),
            sent: sent.iter().map(|sent| id(*sent)).collect(),
            ..Record::new(&trail, *name)
        });
        let trace = TraceTree::of(records.collect(), true);
        let shown = trace.requests.iter().map(|request| {
            let parent = request.parent.map_or(String::new(), |parent| {
                assert_eq!(trace.requests[parent].depth + 1, request.depth);
                trace.requests[parent].record.request.path.clone()
            });
            format!("{}{}<{parent}", " ".repeat(request.depth), request.record.request.path)
        });
        shown.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn request_is_below_its_sender_in_the_order_of_time() {
        assert_eq!(tree(&[]), "");
        let web: [(&str, u64, u64, &[u64]); 4] =
            [("web", 1, 0, &[11, 12]), ("auth", 2, 11, &[]), ("shop", 3, 12, &[31]), ("stock", 4, 31, &[])];
        assert_eq!(tree(&web), "web<, auth<web, shop<web,  stock<shop");
        // Clocks differ between machines: a child may come first.
        assert_eq!(tree(&[web[3], web[2], web[1], web[0]]), "web<, shop<web,  stock<shop, auth<web");
        // A sender that forwards its own id, and two unknown senders.
        assert_eq!(tree(&[("a", 1, 9, &[]), ("b", 2, 1, &[]), ("c", 3, 8, &[])]), "a<, b<a,c<");
    }

    #[test]
    fn cycle_is_a_tree_whose_root_is_the_first_request() {
        assert_eq!(tree(&[("a", 1, 1, &[])]), "a<");
        assert_eq!(tree(&[("a", 1, 2, &[]), ("b", 2, 1, &[]), ("c", 3, 0, &[])]), "c<,a<, b<a");
        // Two that claim to have sent the same: it is below the first, once.
        assert_eq!(tree(&[("a", 1, 0, &[7]), ("b", 2, 0, &[7]), ("c", 3, 7, &[])]), "a<, c<a,b<");
    }

    #[test]
    fn tree_is_built_from_a_chain_of_maximum_length() {
        let trail = Trail::start(Sample::Always);
        let records = (1..=TraceTree::MOST as u64).map(|number| Record {
            span_id: id(number),
            parent_id: (number > 1).then(|| id(number - 1)),
            ..Record::new(&trail, "x")
        });
        let trace = TraceTree::of(records.collect(), true);
        assert_eq!(trace.requests.last().unwrap().depth, TraceTree::MOST - 1);
    }
}
