#include <isa-l/igzip_lib.h>

// The size of level 1's tables; Swift cannot read a macro that adds sizes.
enum { agg_isal_level1_table_size = ISAL_DEF_LVL1_DEFAULT };
