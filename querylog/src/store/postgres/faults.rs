//! Why there is no connection, in words.

use std::error::Error;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};

/// What is wrong, without the words of the pool, and with those of whatever it came from.
pub(super) fn no_connection(error: PoolError) -> String {
    let error = match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(TimeoutType::Create) => return "the server does not answer".to_owned(),
        error => return error.to_string(),
    };
    let mut last: &(dyn Error + 'static) = &error;
    if let Some(said) = error.as_db_error() {
        return said.to_string();
    }
    let mut text = error.to_string();
    loop {
        if let Some(why) = last.downcast_ref::<io::Error>().and_then(|error| super::tls::not_accepted(error.get_ref()?))
        {
            return format!("the certificate of the server is not accepted: {why}");
        }
        let Some(source) = last.source() else { return text };
        let why = source.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        last = source;
    }
}
