#include "daemon/slab.h"

#include <stdlib.h>
#include <sys/mman.h>

void *ky_slab_new(size_t bytes)
{
    enum { LINE = 64 };
    size_t align = bytes >= KY_SLAB ? KY_SLAB : LINE;
    void *slab = aligned_alloc(align, (bytes + align - 1) / align * align);

    if (slab != NULL && align == KY_SLAB) /* where there are none, pages of 4 kB do */
        madvise(slab, bytes, MADV_HUGEPAGE);
    return slab;
}
