//! The jobs of exports in PostgreSQL.

use async_trait::async_trait;

use crate::model::export_status::ExportState;
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::job::Job;
use crate::store::job_statements::{self as statements, Insert, List};
use crate::store::jobs::{DamagedJob, FoundJob, JobLimit, JobList, Jobs};
use crate::store::postgres::rows::get;
use crate::store::postgres::server::{bytes, parameter};
use crate::store::postgres::store::Postgres;
use crate::store::sql::many;

/// Reads the clock instead of the start time of a transaction.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT";

#[async_trait]
impl Jobs for Postgres {
    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        self.query(NOW, Vec::new()).await?.first().map(|row| time(row, 0)).transpose()
    }

    async fn insert(&self, job: Job, limit: JobLimit) -> Result<bool, StoreError> {
        let (body, scope) = (job.body_text()?, job.scope.to_string());
        let Insert { text, most, bounds } = statements::insert(&limit);
        let mut parameters = vec![
            bytes(&job.id),
            bytes(&job.owner),
            parameter(job.token.map(String::into_bytes)),
            bytes(&scope),
            bytes(job.state.as_str()),
            parameter(job.version),
            parameter(job.created.as_micros()),
            parameter(job.due.as_micros()),
            bytes(&body),
            parameter(most),
        ];
        parameters.extend(bounds.into_iter().map(parameter));
        Ok(!self.write(text, parameters).await?.is_empty())
    }

    async fn by_id(&self, id: &str) -> Result<Option<Job>, StoreError> {
        self.query(statements::of_id(), vec![bytes(id)]).await?.first().map(read_job).transpose()
    }

    async fn by_token(&self, owner: &str, token: &str) -> Result<Option<Job>, StoreError> {
        let found = self.query(statements::of_token(), vec![bytes(owner), bytes(token)]).await?;
        found.first().map(read_job).transpose()
    }

    async fn release_token(&self, owner: &str, token: &str, created: Timestamp) -> Result<(), StoreError> {
        let parameters = vec![bytes(owner), bytes(token), parameter(created.as_micros())];
        self.write(statements::RELEASE_TOKEN, parameters).await.map(drop)
    }

    async fn list(&self, list: JobList, limit: usize) -> Result<Vec<FoundJob>, StoreError> {
        let List { text, before, limit, scopes } = statements::list(list, limit);
        let mut parameters = vec![parameter(before.micros), bytes(&before.id), parameter(limit)];
        parameters.extend(scopes.iter().map(|scope| bytes(scope)));
        self.query(text, parameters).await?.iter().map(find_job).collect()
    }

    async fn due(
        &self,
        states: &[ExportState],
        now: Timestamp,
        far: Timestamp,
        limit: usize,
    ) -> Result<Vec<FoundJob>, StoreError> {
        let parameters = vec![parameter(now.as_micros()), parameter(far.as_micros()), parameter(many(limit))];
        self.query(statements::due(states), parameters).await?.iter().map(find_job).collect()
    }

    async fn compare_and_swap(&self, job: Job) -> Result<bool, StoreError> {
        let body = job.body_text()?;
        let parameters = vec![
            bytes(&job.id),
            parameter(job.version),
            bytes(job.state.as_str()),
            parameter(job.due.as_micros()),
            bytes(&body),
        ];
        Ok(!self.write(statements::COMPARE_AND_SWAP, parameters).await?.is_empty())
    }

    async fn postpone(&self, id: &str, version: i64, due: Timestamp) -> Result<bool, StoreError> {
        let parameters = vec![bytes(id), parameter(version), parameter(due.as_micros())];
        Ok(!self.write(statements::POSTPONE, parameters).await?.is_empty())
    }

    async fn delete(&self, id: &str, version: i64) -> Result<bool, StoreError> {
        Ok(!self.write(statements::DELETE, vec![bytes(id), parameter(version)]).await?.is_empty())
    }
}

fn text(row: &tokio_postgres::Row, index: usize) -> Result<String, StoreError> {
    String::from_utf8(get(row, index)?).map_err(StoreError::failed)
}

fn time(row: &tokio_postgres::Row, index: usize) -> Result<Timestamp, StoreError> {
    get(row, index).map(Timestamp::from_micros)
}

/// Reads one of several jobs.
fn find_job(row: &tokio_postgres::Row) -> Result<FoundJob, StoreError> {
    let (id, version, created) = (text(row, 0)?, get(row, 5)?, time(row, 6)?);
    Ok(read_job(row).map_err(|why| DamagedJob::new(id, version, created, why)))
}

fn read_job(row: &tokio_postgres::Row) -> Result<Job, StoreError> {
    let token: Option<Vec<u8>> = get(row, 2)?;
    let (scope, state, body) = Job::read(&text(row, 3)?, &text(row, 4)?, &text(row, 8)?)?;
    Ok(Job {
        id: text(row, 0)?,
        owner: text(row, 1)?,
        token: token.map(String::from_utf8).transpose().map_err(StoreError::failed)?,
        scope,
        state,
        version: get(row, 5)?,
        created: time(row, 6)?,
        due: time(row, 7)?,
        body,
    })
}
