//! Forms with files: read whole, within a limit, as what people choose before a start is stored.

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use http::request::Parts;
use lyceum_hub::FormReading;
use serde_json::{Map, Value, json};

use crate::ApiError;
use crate::client::header_text;
use crate::forms::{self, Form, MAX_FIELDS, too_many_fields};

/// The key that marks bytes among options, and the key that holds them (JupyterHub 6.1).
const BYTES: &str = "__jupyterhub_bytes__";

/// What somebody has filled in.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    fields: Vec<(String, String)>,
    files: Vec<File>,
}

/// A file that came with a form.
#[derive(Debug)]
struct File {
    field: String,
    name: String,
    content_type: String,
    body: bytes::Bytes,
}

impl Filled {
    /// Reads a form of either kind.
    pub(crate) async fn read(parts: &Parts, body: Body) -> Result<Self, ApiError> {
        let kind = header_text(&parts.headers, &header::CONTENT_TYPE).unwrap_or_default();
        let with_files = kind
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("multipart/form-data"));
        if with_files {
            return Self::read_multipart(parts, body).await;
        }
        let form = Form::read(body).await?;
        let fields = form
            .pairs()
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(Self {
            fields: fields.collect(),
            files: Vec::new(),
        })
    }

    async fn read_multipart(parts: &Parts, body: Body) -> Result<Self, ApiError> {
        let broken = || ApiError::bad_request("the form is not well-formed");
        let bytes = forms::read_large(body).await?;
        let mut request = Request::new(Body::from(bytes));
        *request.headers_mut() = parts.headers.clone();
        let mut multipart = Multipart::from_request(request, &())
            .await
            .map_err(|_| broken())?;
        let mut filled = Self::default();
        while let Some(field) = multipart.next_field().await.map_err(|_| broken())? {
            if filled.fields.len() + filled.files.len() >= MAX_FIELDS {
                return Err(too_many_fields());
            }
            let name = field.name().unwrap_or_default().to_owned();
            let file = field.file_name().map(str::to_owned);
            let content_type = field.content_type().unwrap_or("application/unknown");
            let content_type = content_type.to_owned();
            let body = field.bytes().await.map_err(|_| broken())?;
            if let Some(file) = file {
                filled.files.push(File {
                    field: name,
                    name: file,
                    content_type,
                    body,
                });
            } else {
                let text = String::from_utf8(body.to_vec())
                    .map_err(|_| ApiError::bad_request("the form is not UTF-8 text"))?;
                filled.fields.push((name, text));
            }
        }
        Ok(filled)
    }

    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The options that were chosen, without what is the hub's own; `None` if there are none.
    pub(crate) fn options(&self, reading: FormReading) -> Option<Map<String, Value>> {
        let mut options = Map::new();
        for (key, value) in &self.fields {
            if !matches!(key.as_str(), "_xsrf" | "next") {
                push(&mut options, key, Value::String(value.clone()));
            }
        }
        for file in &self.files {
            // A file that was not chosen comes as an empty one without a name.
            if file.name.is_empty() && file.body.is_empty() {
                continue;
            }
            let body = json!({BYTES: true, "data": STANDARD.encode(&file.body)});
            let value =
                json!({"filename": file.name, "body": body, "content_type": file.content_type});
            push(&mut options, &format!("{}_file", file.field), value);
        }
        interpret(&mut options, reading);
        (!options.is_empty()).then_some(options)
    }
}

/// Adds a value to the list of a field, as JupyterHub gives forms to spawners.
pub(crate) fn push(options: &mut Map<String, Value>, key: &str, value: Value) {
    let list = options
        .entry(key.to_owned())
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = list {
        list.push(value);
    }
}

/// Makes options of the lists of a form (JupyterHub `_simple_options_from_form`).
pub(crate) fn interpret(options: &mut Map<String, Value>, reading: FormReading) {
    if reading == FormReading::Passthrough {
        return;
    }
    for value in options.values_mut() {
        if let Value::Array(list) = value
            && let [one] = list.as_mut_slice()
        {
            *value = match one.take() {
                Value::String(text) if text == "on" => Value::Bool(true),
                other => other,
            };
        }
    }
}

/// Options as models show them: without the bytes of files, which may be many.
pub(crate) fn without_bytes(options: &Map<String, Value>) -> Value {
    fn strip(value: &Value) -> Value {
        match value {
            Value::Object(object) if object.contains_key(BYTES) => json!({BYTES: true}),
            Value::Object(object) => object
                .iter()
                .map(|(key, value)| (key.clone(), strip(value)))
                .collect::<Map<_, _>>()
                .into(),
            Value::Array(list) => list.iter().map(strip).collect(),
            other => other.clone(),
        }
    }
    options
        .iter()
        .map(|(key, value)| (key.clone(), strip(value)))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &'static str) -> Result<Filled, ApiError> {
        let (parts, body) = Request::builder()
            .header("content-type", "multipart/form-data; boundary=x")
            .body(Body::from(text))
            .unwrap()
            .into_parts();
        Filled::read(&parts, body).await
    }

    #[tokio::test]
    async fn files_become_options_and_their_bytes_are_not_shown() {
        let filled = read(
            "--x\r\nContent-Disposition: form-data; name=\"_xsrf\"\r\n\r\nsecret\r\n\
             --x\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\nbig\r\n\
             --x\r\nContent-Disposition: form-data; name=\"gpu\"\r\n\r\non\r\n\
             --x\r\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\r\n\r\n\
             --x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\
             Content-Type: text/x\r\n\r\nhi\r\n--x--\r\n",
        )
        .await
        .unwrap();
        assert_eq!(filled.get("_xsrf"), Some("secret"));
        let file = json!({"filename": "a.bin", "content_type": "text/x",
            "body": {BYTES: true, "data": "aGk="}});
        assert_eq!(
            Value::from(filled.options(FormReading::Passthrough).unwrap()),
            json!({"size": ["big"], "gpu": ["on"], "f_file": [file]})
        );
        let simple = filled.options(FormReading::Simple).unwrap();
        assert_eq!(
            without_bytes(&simple),
            json!({"size": "big", "gpu": true, "f_file": {"filename": "a.bin",
                "content_type": "text/x", "body": {BYTES: true}}})
        );
    }

    #[tokio::test]
    async fn a_broken_form_is_a_mistake_of_its_sender() {
        for text in ["", "--x\r\nnonsense", "--y--\r\n"] {
            assert!(read(text).await.is_err(), "{text:?}");
        }
    }
}
