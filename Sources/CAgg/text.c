#include "cagg.h"
#include <elf.h>
#include <link.h>
#include <sys/mman.h>

// Code that was relocated differs from its file.
static int has_text_relocations(const struct dl_phdr_info *object) {
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    if (part->p_type != PT_DYNAMIC) continue;
    for (const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(object->dlpi_addr + part->p_vaddr); entry->d_tag != DT_NULL; entry++) {
      if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL))) return 1;
    }
  }
  return 0;
}

static int release(struct dl_phdr_info *object, size_t size, void *page_size) {
  (void)size;
  // The kernel's own object has no file.
  if (object->dlpi_name && strstr(object->dlpi_name, "vdso")) return 0;
  if (has_text_relocations(object)) return 0;
  size_t page = *(size_t *)page_size;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || (part->p_flags & PF_W)) continue;
    size_t begin = object->dlpi_addr + part->p_vaddr;
    size_t from = (begin + page - 1) / page * page, to = (begin + part->p_filesz) / page * page;
    if (from < to) madvise((void *)from, to - from, MADV_DONTNEED);
  }
  return 0;
}

void agg_release_text(void) {
  long page = sysconf(_SC_PAGESIZE);
  if (page <= 0) return;
  size_t size = (size_t)page;
  dl_iterate_phdr(release, &size);
}
