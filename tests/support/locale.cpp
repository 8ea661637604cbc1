// Every test program runs in the user's locale, as one with Qt does: in de_DE.UTF-8 the C library writes and reads 0,5.
#include <clocale>

[[maybe_unused]] static const char* const kLocale = std::setlocale(LC_ALL, "");
