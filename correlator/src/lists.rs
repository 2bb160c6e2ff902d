//! What events are held against beside rules: who is called hostile, and where addresses are.

use crate::geo::Places;
use crate::indicator::Indicators;

#[derive(Debug, Default)]
pub struct Lists {
    pub indicators: Indicators,
    pub places: Places,
}
