// A library with the face of NVIDIA's management library: two GPUs, of which the first one's power rises by 100 W with
// each reading, from 200 W, and is capped at every second one; the second tells its name alone.
#include <cstring>

namespace {

struct PciInfo {
  char legacy_id[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char id[32];
};
struct Memory {
  unsigned long long total, free, used;
};
int handles[2];
unsigned readings = 0;

int unknown() { return 3; }  // NVML_ERROR_NOT_SUPPORTED

}  // namespace

extern "C" {
int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
const char* nvmlErrorString(int) { return "an error"; }
int nvmlSystemGetDriverVersion(char* text, unsigned size) {
  std::strncpy(text, "550.54.15", size);
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
  *handle = &handles[index];
  return 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** handle) {
  *handle = &handles[std::strcmp(id, "00000000:3B:00.0") == 0 ? 0 : 1];
  return 0;
}
int nvmlDeviceGetName(void* gpu, char* name, unsigned size) {
  std::strncpy(name, gpu == &handles[0] ? "Invented GPU" : "Another GPU", size);
  return 0;
}
int nvmlDeviceGetPciInfo_v3(void* gpu, PciInfo* pci) {
  if (gpu != &handles[0]) return unknown();
  std::strcpy(pci->id, "00000000:3B:00.0");
  return 0;
}
int nvmlDeviceGetMemoryInfo(void* gpu, Memory* memory) {
  if (gpu != &handles[0]) return unknown();
  *memory = {24ull << 30, 23ull << 30, 1ull << 30};
  return 0;
}
int nvmlDeviceGetPowerUsage(void* gpu, unsigned* milliwatts) {
  if (gpu != &handles[0]) return unknown();
  *milliwatts = 200'000 + 100'000 * readings++;
  return 0;
}
int nvmlDeviceGetClockInfo(void* gpu, int type, unsigned* mhz) {
  if (gpu != &handles[0]) return unknown();
  *mhz = type == 1 ? 1980 : 2619;
  return 0;
}
int nvmlDeviceGetCurrPcieLinkGeneration(void* gpu, unsigned* generation) {
  if (gpu != &handles[0]) return unknown();
  *generation = readings == 1 ? 1 : 5;  // idle at first
  return 0;
}
int nvmlDeviceGetMaxPcieLinkGeneration(void* gpu, unsigned* generation) {
  *generation = 5;
  return gpu == &handles[0] ? 0 : unknown();
}
int nvmlDeviceGetCurrPcieLinkWidth(void* gpu, unsigned* lanes) {
  *lanes = 16;
  return gpu == &handles[0] ? 0 : unknown();
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void* gpu, unsigned long long* reasons) {
  if (gpu != &handles[0]) return unknown();
  *reasons = readings % 2 == 0 ? 0x4 : 0x1;
  return 0;
}
}
