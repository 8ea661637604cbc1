#pragma once

#include <QColor>
#include <QIcon>
#include <QPalette>
#include <QString>

namespace krasis::ui {

/// What a colour says. Text or a glyph always says it too.
enum class Tone { Good, Bad, Warning, Muted };

/// Whether the palette is a dark one (Qt 6.4 has no QStyleHints::colorScheme): its text is lighter than its window.
bool is_dark(const QPalette& palette);
/// A text colour with a contrast of at least 4.5:1 on the palette's base.
QColor tone_color(Tone tone, const QPalette& palette);
/// The n-th colour for series and segments: distinguishable for colour-blind eyes (Okabe and Ito), on light and dark.
QColor series_color(int index, const QPalette& palette);
/// Black or white, whichever reads better on `background`.
QColor readable_on(const QColor& background);
/// WCAG 2 contrast ratio, 1..21.
double contrast(const QColor& a, const QColor& b);
/// A one-colour icon of resources/icons, drawn in the palette's text colour.
QIcon themed_icon(const QString& name, const QPalette& palette);

}  // namespace krasis::ui
