//! A recording as a picture that moves, of the kind that pages show by `<img>`: no script, nothing from elsewhere.
//!
//! The whole text is drawn once, by a library, and goes up behind a window as large as the screen. A curtain hides what
//! the first screen doesn't show yet; later on that is below the window anyway.

use std::fmt::Write as _;

use anstyle_svg::Term;

use super::cast::Cast;

/// The height of a line and the room around the text, in pixels, as the library draws them.
const LINE: usize = 18;
const PADDING: usize = 10;
/// How far letters reach below their line's end.
const BELOW: usize = 5;
/// The width of a character of its 14 pixels, in tenths.
const CHARACTER: usize = 84;

/// Colours with enough contrast for small letters, by the schemes that readers choose: those of GitHub's own pages.
const STYLE: &str = "
    .screen { fill: #ffffff; stroke: #d1d9e0; }
    .curtain { fill: #ffffff; }
    .story .fg { fill: #1f2328; }
    .story .dimmed { fill: #59636e; opacity: 1; }
    .story .fg-green { fill: #1a7f37; }
    .story .fg-yellow { fill: #9a6700; }
    .story .fg-red { fill: #d1242f; }
    @media (prefers-color-scheme: dark) {
      .screen { fill: #0d1117; stroke: #3d444d; }
      .curtain { fill: #0d1117; }
      .story .fg { fill: #f0f6fc; }
      .story .dimmed { fill: #9198a1; }
      .story .fg-green { fill: #3fb950; }
      .story .fg-yellow { fill: #d29922; }
      .story .fg-red { fill: #f85149; }
    }
";

/// An element of SVG.
pub fn tag(name: &'static str) -> (&'static str, &'static str) {
    ("http://www.w3.org/2000/svg", name)
}

/// The picture. The same cast gives the same one.
pub fn draw(cast: &Cast) -> String {
    let (width, rows) = ((cast.width * CHARACTER).div_ceil(10), cast.height * LINE);
    let (window, top) = (rows + 2 * PADDING, PADDING + BELOW);
    let text = cast.text();
    let drawn = Term::new().background(false).min_width_px(width).render_svg(text.trim_end());
    let (outer_width, ends) = (width + 2 * PADDING, cast.ends());

    let (mut lines, mut story, mut curtain) = (0, String::new(), String::new());
    let (mut up, mut down) = (0, 0);
    for event in &cast.events {
        lines += event.text.matches('\n').count();
        up = lines.saturating_sub(cast.height) * LINE;
        down = lines.min(cast.height) * LINE;
        let percent = event.time / ends * 100.0;
        let _ = write!(story, "{percent:.3}%{{transform:translateY(-{up}px)}}");
        let _ = write!(curtain, "{percent:.3}%{{transform:translateY({down}px)}}");
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {outer_width} {window}\" width=\"{outer_width}\" \
         height=\"{window}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">make demo: a Bitbucket connection from its first day to its last</title>\n\
         <desc id=\"desc\">A terminal in which a connection is planned, created, rotated, protected from bad tokens, \
         diagnosed, corrected, warned about and deleted.</desc>\n\
         <style>{STYLE}\
         .story {{ transform: translateY(-{up}px); animation: story {ends:.3}s step-end infinite; }}\n\
         .curtain {{ transform: translateY({down}px); animation: curtain {ends:.3}s step-end infinite; }}\n\
         @keyframes story {{{story}}}\n\
         @keyframes curtain {{{curtain}}}\n\
         @media (prefers-reduced-motion: reduce) {{ .story, .curtain {{ animation: none; }} }}\n\
         </style>\n\
         <rect class=\"screen\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n\
         <svg y=\"{PADDING}\" width=\"{outer_width}\" height=\"{rows}\" viewBox=\"0 {top} {outer_width} {rows}\">\n\
         <g class=\"story\">\n{drawn}</g>\n\
         <rect class=\"curtain\" x=\"1\" y=\"{top}\" width=\"{}\" height=\"{rows}\"/>\n\
         </svg>\n\
         </svg>\n",
        outer_width - 1,
        window - 1,
        outer_width - 2,
    )
}
