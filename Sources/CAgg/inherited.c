#include "cagg.h"
#include <dirent.h>
#include <stdlib.h>

static int number(const char *name) {
  const char *text = getenv(name);
  return text ? atoi(text) : -1;
}

/// A process that another agg has started (as a worker, or to take over) closes what it has inherited without being meant to: that one's
/// connections above all, which would stay open here when it closes them, since the network library's are not closed by exec. Done before
/// main, when nothing else has been opened: later the runtime's own descriptors could not be told from them.
__attribute__((constructor)) static void close_inherited(void) {
  int is_worker = getenv("AGG_WORKER_ID") != NULL;
  if (!is_worker && !getenv("AGG_TAKE_OVER")) return;
  int kept[3] = {number("AGG_FAULT_FD"), is_worker ? number("AGG_SUPERVISOR_PIPE") : -1, is_worker ? number("AGG_SUPERVISOR_SIGNS") : -1};
  int passed = is_worker ? number("LISTEN_FDS") : 0;
  DIR *list = opendir("/proc/self/fd");
  if (!list) return;
  struct dirent *entry;
  while ((entry = readdir(list))) {
    int fd = atoi(entry->d_name);
    if (fd <= 2 || fd == dirfd(list) || fd == kept[0] || fd == kept[1] || fd == kept[2] || (passed > 0 && passed < 4096 && fd < 3 + passed)) continue;
    close(fd);
  }
  closedir(list);
}
