// What MindSpore's plug-ins have registered in this process: names of kernels, and the types of those for GPUs.
#include <any>
#include <fcntl.h>
#include <functional>
#include <link.h>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>
#define private public
#define protected public
#include "backend/common/expander/fallback/fallback_irbuilder.h"
#include "include/runtime/hardware_abstract/kernel_base/common_utils.h"
#include "include/runtime/hardware_abstract/kernel_base/kernel.h"
#include "include/runtime/hardware_abstract/kernel_base/ms_factory.h"
#include "ir/dtype/type.h"

using mindspore::kernel::Factory;
using mindspore::kernel::FactoryBase;
using mindspore::kernel::KernelAttr;
using mindspore::kernel::KernelMod;
using Listed = std::map<std::string, std::vector<std::pair<KernelAttr, std::function<KernelMod *()>>>>;

static std::string text;

static void say(const std::string &name, const KernelAttr &attr) {
  text += name + (attr.GetAllSame() ? "\tsame\t" : "\teach\t");
  for (const auto &input : attr.input_type()) text += mindspore::TypeIdToString(input.dtype) + " ";
  text += "\t";
  for (const auto &output : attr.output_type()) text += mindspore::TypeIdToString(output.dtype) + " ";
  text += "\n";
}

// The kernels of a factory, whose key is the name of a class as typeid gives it.
extern "C" const char *registered(const char *key, int with_types) {
  text.clear();
  auto *factory = static_cast<Factory<KernelMod> *>(FactoryBase::GetInstance(key));
  if (factory == nullptr) return "";
  for (const auto &[name, create] : factory->kernel_mod_creators_) {
    if (!with_types) {
      text += name + "\n";
      continue;
    }
    for (const auto &attr : create()->GetOpSupport()) say(name, attr);
  }
  return text.c_str();
}

// The operators that MindSpore replaces by others where a plug-in has no kernel.
extern "C" const char *replaced() {
  text.clear();
  for (const auto &[name, builder] : mindspore::expander::IRBuilderFactory::Instance().registry_) text += name + "\n";
  return text.c_str();
}

static int memory;

static bool read_at(uintptr_t place, void *into, size_t size) {
  return pread(memory, into, size, static_cast<off_t>(place)) == static_cast<ssize_t>(size);
}

// Whether a map of strings lies at a place: the head of its tree, and a root whose key is a short text.
static bool is_map(uintptr_t place) {
  uintptr_t head[6], key, lengths[2];
  if (!read_at(place, head, sizeof(head)) || head[5] < 50 || head[5] > 5000) return false;
  if (!read_at(head[2] + 32, &key, 8) || !read_at(key - 24, lengths, 16)) return false;
  char first;
  return lengths[0] > 1 && lengths[0] < 80 && lengths[1] < 400 && read_at(key, &first, 1) && isupper(first);
}

static int look(dl_phdr_info *library, size_t, void *) {
  if (std::string(library->dlpi_name).find("libmindspore_gpu") == std::string::npos) return 0;
  for (int i = 0; i < library->dlpi_phnum; i++) {
    const auto &part = library->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || !(part.p_flags & PF_W)) continue;
    uintptr_t start = library->dlpi_addr + part.p_vaddr, end = start + part.p_memsz - sizeof(Listed);
    for (uintptr_t place = (start + 7) / 8 * 8; place < end; place += 8) {
      if (!is_map(place)) continue;
      const auto &listed = *reinterpret_cast<Listed *>(place);
      if (listed.count("SGD") == 0) continue;
      for (const auto &[name, attrs] : listed) {
        for (const auto &one : attrs) say(name, one.first);
      }
      return 1;
    }
  }
  return 0;
}

// The kernels of the GPU plug-in's second register, which has no name outside of it: it is found by what it holds.
extern "C" const char *listed() {
  text.clear();
  memory = open("/proc/self/mem", O_RDONLY);
  dl_iterate_phdr(look, nullptr);
  close(memory);
  return text.c_str();
}
