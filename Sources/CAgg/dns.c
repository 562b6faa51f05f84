#include "cagg.h"
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>

// An answer may be as long as TCP allows; what comes is not trusted: every read is checked against its end.
enum { answer_size = 65535 };

static unsigned read16(const unsigned char *p) { return (unsigned)p[0] << 8 | p[1]; }

static int query(const char *name, int type, const char *server, uint16_t port, unsigned char *answer) {
  struct __res_state state;
  memset(&state, 0, sizeof state);
  if (res_ninit(&state) != 0) return -NO_RECOVERY;
  state.retrans = 2;
  state.retry = 2;
  if (server) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, server, &address.sin_addr) != 1) {
      res_nclose(&state);
      return -NO_RECOVERY;
    }
    state.nscount = 1;
    state.nsaddr_list[0] = address;
  }
  int n = res_nquery(&state, name, ns_c_in, type, answer, answer_size);
  int error = state.res_h_errno;
  res_nclose(&state);
  if (n < 0) return error > 0 ? -error : -TRY_AGAIN;
  return n < answer_size ? n : answer_size;
}

int agg_dns_lookup(const char *name, int wants_service, const char *server, uint16_t port, struct agg_dns_record *out, int capacity) {
  unsigned char *answer = malloc(answer_size);
  if (!answer) return -NO_RECOVERY;
  int type = wants_service ? ns_t_srv : ns_t_a;
  int n = query(name, type, server, port, answer);
  if (n < 0) {
    free(answer);
    return n;
  }
  const unsigned char *end = answer + n, *p = answer + 12;
  int count = 0;
  if (n >= 12) {
    unsigned questions = read16(answer + 4), answers = read16(answer + 6);
    for (; questions > 0 && p < end; questions--) {
      int skipped = dn_skipname(p, end);
      if (skipped < 0 || end - p < skipped + 4) break;
      p += skipped + 4;
    }
    for (; questions == 0 && answers > 0 && count < capacity && p < end; answers--) {
      int skipped = dn_skipname(p, end);
      if (skipped < 0 || end - p < skipped + 10) break;
      p += skipped;
      unsigned kind = read16(p), size = read16(p + 8);
      p += 10;
      if (end - p < (long)size) break;
      struct agg_dns_record record;
      memset(&record, 0, sizeof record);
      if (type == ns_t_a && kind == ns_t_a && size == 4) {
        if (inet_ntop(AF_INET, p, record.name, sizeof record.name)) out[count++] = record;
      } else if (type == ns_t_srv && kind == ns_t_srv && size > 6) {
        record.priority = (uint16_t)read16(p);
        record.weight = (uint16_t)read16(p + 2);
        record.port = (uint16_t)read16(p + 4);
        if (dn_expand(answer, end, p + 6, record.name, (int)sizeof record.name) > 0) out[count++] = record;
      }
      p += size;
    }
  }
  free(answer);
  return count;
}
