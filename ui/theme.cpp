#include "ui/theme.h"

#include <QFile>
#include <QPainter>
#include <QPixmap>
#include <QSvgRenderer>
#include <algorithm>
#include <array>
#include <cmath>

// The icons are compiled into a static library: the linker keeps them only when something names them.
static void load_resources() { Q_INIT_RESOURCE(resources); }

namespace krasis::ui {
namespace {

[[maybe_unused]] const bool kResourcesLoaded = (load_resources(), true);

double luminance(const QColor& color) {
  const auto linear = [](double c) { return c <= 0.03928 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4); };
  return 0.2126 * linear(color.redF()) + 0.7152 * linear(color.greenF()) + 0.0722 * linear(color.blueF());
}

QPixmap render(const QByteArray& svg, const QColor& color, int size) {
  QByteArray tinted = svg;
  tinted.replace("#000000", color.name().toLatin1());
  QSvgRenderer renderer(tinted);
  QPixmap pixmap(size, size);
  pixmap.fill(Qt::transparent);
  QPainter painter(&pixmap);
  renderer.render(&painter);
  return pixmap;
}

}  // namespace

bool is_dark(const QPalette& palette) {
  return luminance(palette.color(QPalette::WindowText)) > luminance(palette.color(QPalette::Window));
}

QColor tone_color(Tone tone, const QPalette& palette) {
  const bool dark = is_dark(palette);
  switch (tone) {
    case Tone::Good: return dark ? QColor(0x6f, 0xd0, 0x8c) : QColor(0x14, 0x6c, 0x2e);
    case Tone::Bad: return dark ? QColor(0xff, 0x9d, 0x8a) : QColor(0xb0, 0x1e, 0x10);
    case Tone::Warning: return dark ? QColor(0xf2, 0xc0, 0x55) : QColor(0x84, 0x52, 0x00);
    case Tone::Muted: return dark ? QColor(0xa8, 0xa8, 0xa8) : QColor(0x5f, 0x5f, 0x5f);
  }
  return palette.color(QPalette::Text);
}

QColor series_color(int index, const QPalette& palette) {
  static const std::array<QColor, 7> kLight{QColor(0x00, 0x72, 0xb2), QColor(0xd5, 0x5e, 0x00), QColor(0x00, 0x9e, 0x73),
                                            QColor(0xcc, 0x79, 0xa7), QColor(0xb8, 0x86, 0x00), QColor(0x3a, 0x9b, 0xd6),
                                            QColor(0x6b, 0x6b, 0x6b)};
  const QColor color = kLight[static_cast<std::size_t>(std::max(index, 0)) % kLight.size()];
  return is_dark(palette) ? color.lighter(125) : color;
}

QColor readable_on(const QColor& background) {
  return contrast(background, Qt::white) >= contrast(background, Qt::black) ? QColor(Qt::white) : QColor(Qt::black);
}

double contrast(const QColor& a, const QColor& b) {
  const double la = luminance(a);
  const double lb = luminance(b);
  return (std::max(la, lb) + 0.05) / (std::min(la, lb) + 0.05);
}

QIcon themed_icon(const QString& name, const QPalette& palette) {
  QFile file(QStringLiteral(":/icons/%1.svg").arg(name));
  if (!file.open(QIODevice::ReadOnly)) return {};
  const QByteArray svg = file.readAll();
  QIcon icon;
  for (const int size : {16, 24, 32, 48}) {
    icon.addPixmap(render(svg, palette.color(QPalette::WindowText), size));
    icon.addPixmap(render(svg, palette.color(QPalette::HighlightedText), size), QIcon::Selected);
  }
  return icon;
}

}  // namespace krasis::ui
