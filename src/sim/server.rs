//! The simulator on a socket: headers, methods, faults; answers come from `respond`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::clock::SimClock;
use super::faults::{Fault, Faults, Garbage};
use super::line::{Conduct, Lines, Switch};
use super::listing::Paging;
use super::organization::{Organization, SharedOrganization};
use super::respond::{Answer, JSON, Request, Simulation, refuse};
use super::variant::Variant;
use super::view::Views;
use crate::engine::time::{Span, Timestamp};

/// How long open connections may take to end at shutdown.
const SHUTDOWN_PATIENCE: Duration = Duration::from_millis(500);
/// Largest padding of a huge body: enough to break any sane client, not this process.
const MAX_PADDING: usize = 256 * 1024 * 1024;

const GARBAGE: &str = "{\"runs\": [{\"id\": \"run_1\", oops";
const SIGN_IN: &str = "<!doctype html><title>Sign in</title><p>Please sign in.</p>";

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The address cannot be listened on. Not worth retrying unchanged.
    #[error(
        "the simulator cannot listen on {addr}: {source}; choose another address with --listen"
    )]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A simulator that is being served. It stops when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What it simulates; may be edited.
    pub organization: SharedOrganization,
    /// Its time; stands still unless moved.
    pub clock: SimClock,
    /// Its faults and request counters.
    pub faults: Faults,
    /// The shapes it serves.
    pub variant: Variant,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Running {
    /// The base URL for a client, without `/api/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stops listening and waits shortly for open requests.
    pub async fn shutdown(self) {
        self.stop.disarm().cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(SHUTDOWN_PATIENCE, self.task)
            .await
            .is_err()
        {
            abort.abort();
        }
    }
}

#[derive(Debug)]
struct Service {
    simulation: Simulation,
    faults: Faults,
    stop: CancellationToken,
}

/// Serves `organization` on `listen` (port 0: any free one) until [`Running`] is dropped or shut down.
pub async fn serve(
    organization: Organization,
    clock: SimClock,
    faults: Faults,
    variant: Variant,
    listen: SocketAddr,
) -> Result<Running, SimError> {
    let failed = |source| SimError::Listen {
        addr: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let organization = SharedOrganization::new(organization);
    let stop = CancellationToken::new();
    let service = Arc::new(Service {
        simulation: Simulation {
            organization: organization.clone(),
            clock: clock.clone(),
            variant: variant.clone(),
            views: Views::default(),
        },
        faults: faults.clone(),
        stop: stop.clone(),
    });
    let router = Router::new().fallback(handle).with_state(service);
    let serving = axum::serve(
        Lines(listener),
        router.into_make_service_with_connect_info::<Switch>(),
    )
    .with_graceful_shutdown(stop.clone().cancelled_owned());
    let task = tokio::spawn(async move {
        // Serving ends only by the stop signal; accept errors are retried inside.
        let _ = serving.await;
    });
    Ok(Running {
        addr,
        organization,
        clock,
        faults,
        variant,
        stop: stop.drop_guard(),
        task,
    })
}

async fn handle(
    State(service): State<Arc<Service>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (met, skew) =
        service
            .faults
            .meet(method.as_str(), uri.path(), uri.query().unwrap_or_default());
    switch.set(Conduct::Plain);
    service.wait(&met).await;
    let mut answer = if method == Method::GET {
        service.simulation.answer(&request(&uri, &headers, &met))
    } else {
        refuse(
            &service.simulation.variant,
            405,
            "this simulator is read-only; only GET is allowed",
        )
    };
    for fault in &met {
        spoil(fault, &mut answer, &service.simulation.variant);
        switch.set_for(fault, answer.body.len());
    }
    let date = service.simulation.clock.now() + skew + extra_skew(&met);
    respond(answer, date, &met)
}

impl Service {
    async fn wait(&self, met: &[Fault]) {
        for fault in met {
            if let Fault::Delay(span) = fault {
                tokio::select! {
                    () = tokio::time::sleep(real(*span)) => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
    }
}

impl Switch {
    fn set_for(&self, fault: &Fault, body_len: usize) {
        match fault {
            Fault::ResetConnection => self.set(Conduct::Cut),
            Fault::HalfBody => self.set(Conduct::CutInBody(body_len / 2)),
            Fault::SlowDrip(size, pause) => self.set(Conduct::Drip(*size, real(*pause))),
            _ => {}
        }
    }
}

fn real(span: Span) -> Duration {
    span.to_std().unwrap_or_default()
}

fn request<'a>(uri: &'a Uri, headers: &'a HeaderMap, met: &[Fault]) -> Request<'a> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut paging = Paging::default();
    for fault in met {
        match fault {
            Fault::RepeatPage => paging.repeat = true,
            Fault::ShiftPages(rows) => paging.shift = *rows,
            _ => {}
        }
    }
    Request {
        path: uri.path(),
        query: query.into_owned().collect(),
        authorization: text("authorization"),
        organization: text("x-organization-id"),
        paging,
    }
}

fn extra_skew(met: &[Fault]) -> Span {
    let skews = met.iter().filter_map(|fault| match fault {
        Fault::ClockSkew(skew) => Some(*skew),
        _ => None,
    });
    skews.fold(Span::zero(), |sum, skew| sum + skew)
}

/// Changes what is answered. Faults of the connection and of paging are elsewhere.
fn spoil(fault: &Fault, answer: &mut Answer, variant: &Variant) {
    match fault {
        Fault::Status(status, _) => *answer = refuse(variant, *status, "injected fault"),
        Fault::GarbageJson => GARBAGE.clone_into(&mut answer.body),
        Fault::GarbageRow(garbage) => edit_rows(answer, |rows| {
            if let Some(row) = rows.first_mut() {
                spoil_row(row, *garbage);
            }
        }),
        Fault::ReorderRows => edit_rows(answer, |rows| rows.reverse()),
        Fault::HugeBody(size) => pad(answer, *size),
        Fault::WrongContentType => {
            answer.content_type = "text/html; charset=utf-8";
            SIGN_IN.clone_into(&mut answer.body);
        }
        Fault::EmptyOk => answer.body.clear(),
        Fault::Delay(_)
        | Fault::ResetConnection
        | Fault::HalfBody
        | Fault::RepeatPage
        | Fault::ShiftPages(_)
        | Fault::ClockSkew(_)
        | Fault::SlowDrip(..) => {}
    }
}

/// Edits the rows of a list answer: the first array in it.
fn edit_rows(answer: &mut Answer, edit: impl FnOnce(&mut Vec<Value>)) {
    let Ok(mut body) = serde_json::from_str::<Value>(&answer.body) else {
        return;
    };
    let rows = match &mut body {
        Value::Array(rows) => Some(rows),
        Value::Object(fields) => fields.values_mut().find_map(Value::as_array_mut),
        _ => None,
    };
    if let Some(rows) = rows {
        edit(rows);
        answer.body = body.to_string();
    }
}

fn spoil_row(row: &mut Value, garbage: Garbage) {
    if garbage == Garbage::NotAnObject {
        *row = json!("not an object");
        return;
    }
    let Some(fields) = row.as_object_mut() else {
        return;
    };
    match garbage {
        Garbage::MissingId => {
            fields.remove("id");
        }
        Garbage::UnknownStatus => {
            fields.insert("status".to_owned(), json!("quantum"));
        }
        Garbage::WrongTypes | Garbage::NotAnObject => {
            for key in ["start_time", "created_at", "updated_at"] {
                fields.insert(key.to_owned(), json!(1_772_000_000));
            }
            fields.insert("status".to_owned(), json!(["failed"]));
            fields.insert("duration_seconds".to_owned(), json!("a while"));
        }
    }
}

fn pad(answer: &mut Answer, size: usize) {
    if answer.content_type == JSON && answer.body.starts_with('{') {
        let padding = " ".repeat(size.min(MAX_PADDING));
        answer.body.insert_str(1, &padding);
    }
}

fn respond(answer: Answer, date: Timestamp, met: &[Fault]) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(answer.content_type),
    );
    let date = date
        .to_utc()
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        headers.insert(header::DATE, date);
    }
    for fault in met {
        if let Fault::Status(_, Some(seconds)) = fault {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
    }
    response
}
