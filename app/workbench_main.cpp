#include "ui/application.h"

int main(int argc, char** argv) { return krasis::ui::run_workbench(argc, argv); }
