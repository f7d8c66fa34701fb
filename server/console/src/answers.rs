//! Which request gets which answer.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::exposition;
use crate::health::judge;
use crate::metrics::{self, Told};
use crate::serve::Shared;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A body that is there as a whole.
pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) async fn answer<B>(shared: &Shared, request: &Request<B>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD only\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refusal.headers_mut().insert(ALLOW, allowed);
        return refusal;
    }
    match request.uri().path() {
        // That this is answered is all that it says: where the database is away a
        // restart helps nobody.
        "/health/live" => plain(StatusCode::OK, JSON, json!({ "live": true }).to_string()),
        "/health/ready" => ready(shared).await,
        "/metrics" => metrics(shared).await,
        _ => plain(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /metrics, /health/live and /health/ready\n",
        ),
    }
}

async fn ready(shared: &Shared) -> Answer {
    let figures = shared.asked.figures().await;
    let readiness = judge(&(shared.facts)(), &figures, shared.clock.now());
    let status = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    plain(status, JSON, json!(readiness).to_string())
}

async fn metrics(shared: &Shared) -> Answer {
    let figures = shared.asked.figures().await;
    let text = metrics::text(&Told {
        node: shared.depot.node().as_str(),
        now: shared.clock.now(),
        facts: &(shared.facts)(),
        counted: &shared.depot.counted(),
        occupancy: shared.depot.gate().occupancy(),
        figures: &figures,
    });
    plain(StatusCode::OK, exposition::CONTENT_TYPE, text)
}

fn plain(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
