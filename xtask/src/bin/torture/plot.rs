//! The failovers as a picture: which share of them was over within which time.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 500);

/// An SVG of these times, which are ascending, in milliseconds.
pub fn distribution(milliseconds: &[f64]) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, milliseconds).map_err(|error| anyhow!("drawing the plot: {error}"))?;
    Ok(svg)
}

fn draw(svg: &mut String, milliseconds: &[f64]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let most = milliseconds.last().copied().unwrap_or(1.0).max(1.0) * 1.5;
    let least = milliseconds.first().copied().unwrap_or(0.1).clamp(0.01, most / 2.0) / 1.5;
    let caption = format!("{} leaders killed: time until another process is served", milliseconds.len());
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 20))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(55)
        .build_cartesian_2d((least..most).log_scale(), 0.0..100.0)?;
    chart.configure_mesh().x_desc("milliseconds").y_desc("% of failovers").draw()?;
    let share = |index: usize| 100.0 * (index + 1) as f64 / milliseconds.len() as f64;
    let points = milliseconds.iter().enumerate().map(|(index, time)| (*time, share(index)));
    chart.draw_series(LineSeries::new(points, &BLUE))?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_number_of_times_can_be_drawn() {
        for times in [&[][..], &[3.0], &[1.0, 2.0, 400.0]] {
            let svg = super::distribution(times).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        }
    }
}
