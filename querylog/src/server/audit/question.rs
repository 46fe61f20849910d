//! What is asked by a path: [`Question`].

use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::model::distinct::Distinct;
use crate::model::record_query::{RecordQuery, Whose};

/// What is asked by a path.
pub(super) enum Question {
    Description,
    User,
    Environment,
    Record(String),
    /// Records, and the name of the endpoint.
    Records(&'static str, RecordQuery),
    Requests,
    Trace(String),
    Gaps,
    Latest(Distinct, Whose),
}

impl Question {
    /// Reads the path after the base. It starts with any number of slashes.
    pub(super) fn read(path: &str) -> Result<Self, ApiError> {
        let path = path.trim_start_matches('/');
        Ok(match path {
            "openapi.json" => Self::Description,
            "user/self" => Self::User,
            "execution-env/self" => Self::Environment,
            "requests" => Self::Requests,
            "gaps" => Self::Gaps,
            "log/self" => Self::Records("self", RecordQuery::Own),
            "log/exec-env/self" => Self::Records("exec-env", RecordQuery::Environment),
            "log/distinct-udf-names/self" => Self::Latest(Distinct::Names, Whose::Own),
            "log/distinct-udf-names/exec-env/self" => Self::Latest(Distinct::Names, Whose::Environment),
            "log/distinct-udf-id/self" => Self::Latest(Distinct::Ids, Whose::Own),
            "log/distinct-udf-id/exec-env/self" => Self::Latest(Distinct::Ids, Whose::Environment),
            _ => {
                let found = WITH_VALUE.iter().find_map(|(prefix, make)| Some((path.strip_prefix(prefix)?, make)));
                let (value, make) = found.filter(|(value, _)| !value.is_empty()).ok_or(ApiError::NoPath)?;
                make(percent_decode_str(value).decode_utf8().map_err(|_| ApiError::NotUtf8)?.into_owned())
            }
        })
    }

    /// Returns whether only a user can ask it.
    pub(super) fn is_of_user(&self) -> bool {
        matches!(self, Self::User | Self::Records(_, RecordQuery::Own) | Self::Latest(_, Whose::Own))
    }
}

/// What a value makes of a path that ends with it.
type Make = fn(String) -> Question;

const WITH_VALUE: [(&str, Make); 5] = [
    ("log/by-id/", Question::Record),
    ("log/by-udf-id/", |id| Question::Records("by-udf-id", RecordQuery::OperationId(id))),
    ("log/by-udf-name/", |name| Question::Records("by-udf-name", RecordQuery::OperationName(name))),
    ("log/by-shared-token/", |token| Question::Records("by-shared-token", RecordQuery::SharedToken(token))),
    ("traces/", Question::Trace),
];
