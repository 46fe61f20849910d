//! What is asked about requests: pages by trace, tag, status and route, and whole traces.

use axum::response::Response;
use tagtrail::TraceId;

use super::answer::{Fault, Problem};
use super::parameters::Parameters;
use super::{DEFAULT_LIMIT, MOST_LIMIT, Page, Shared, asked};
use crate::access::principal::Principal;
use crate::audit::requests::RequestFilter;
use crate::model::scan::Scan;
use crate::model::status::StatusMatch;
use crate::server::ok;

/// As many tags as a request has at most, by the limits of the header.
const MOST_TAGS: usize = 25;

impl Shared {
    pub(super) async fn requests(&self, caller: &Principal, mut parameters: Parameters) -> Result<Response, Problem> {
        let window = parameters.window();
        let limit = parameters.count("limit", DEFAULT_LIMIT, MOST_LIMIT);
        let forward = parameters.boolean("scan_forward", true);
        let requests = filtered(RequestFilter::of(caller.exec_env_id()), &mut parameters);
        let filters: Vec<_> =
            FILTERS.iter().flat_map(|name| parameters.all(name).flat_map(move |v| [*name, v])).collect();
        let asked = asked(caller, "requests", &filters, window, forward);
        let mut range = Scan::new(requests, window).newest_first(!forward);
        if let Some(place) = self.page_token(&asked, &mut parameters) {
            range = range.behind(place);
        }
        parameters.check()?;
        let found = self.log.requests(range, limit).await?;
        let next_page_token = found.next.map(|next| self.signer.write(&asked, next.begin()));
        ok(&Page { items: found.requests, limit, next_page_token })
    }

    pub(super) async fn trace(&self, caller: &Principal, id: &str) -> Result<Response, Problem> {
        let id = id.parse().map_err(|_| {
            let msg = "a trace-id is needed: 32 hexadecimal digits in lower case, not all zero";
            Problem::Parameters(vec![Fault::in_path("value", msg, "value_error")])
        })?;
        ok(&self.log.trace(caller.exec_env_id(), id).await?)
    }
}

const FILTERS: [&str; 4] = ["trace", "tag", "status", "route"];

fn filtered(mut requests: RequestFilter, parameters: &mut Parameters) -> RequestFilter {
    if let Some(id) = parameters.read::<TraceId>("trace", "a trace-id is needed: 32 hexadecimal digits in lower case") {
        requests = requests.trace(id);
    }
    if let Some(status) =
        parameters.read::<StatusMatch>("status", "a status is needed, such as 404, or a class, such as 5xx")
    {
        requests = requests.status(status);
    }
    if let Some(route) = parameters.last("route") {
        requests = requests.route(route);
    }
    let tags: Vec<_> = parameters.all("tag").map(|tag| tag.split_once('=')).collect();
    if tags.len() > MOST_TAGS {
        parameters.fault(Fault::new("tag", "at most 25 tags can be asked for", "too_long"));
    } else if tags.contains(&None) {
        parameters.fault(Fault::new("tag", "a tag is needed, in the form name=value", "value_error"));
    } else {
        for (name, value) in tags.into_iter().flatten() {
            requests = requests.tag(name, value);
        }
    }
    requests
}
