// SPDX-License-Identifier: BSD-3-Clause
// Runs the tests, each in a process of its own, where this main is not called. Criterion 2.4.1
// leaks 48 bytes of its own here, when a run ends.
#include <criterion/criterion.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
static void __lsan_disable(void) {}
#endif

int main(int argc, char **argv)
{
    __lsan_disable();
    struct criterion_test_set *tests = criterion_initialize();
    int status = 0;
    if (criterion_handle_args(argc, argv, true)) status = !criterion_run_all_tests(tests);
    criterion_finalize(tests);
    return status;
}
