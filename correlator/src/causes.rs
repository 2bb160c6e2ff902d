//! Errors in full.

/// An error with its causes, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !said.iter().any(|held| held.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}
