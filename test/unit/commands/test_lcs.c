// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "driver.h"

static struct gyre *g;

static void open_one(void)
{
    g = driver_open();
}

static void close_it(void)
{
    driver_close(g);
}

TestSuite(lcs, .init = open_one, .fini = close_it);

Test(lcs, finds_text_length_and_places)
{
    CHECK(g, "MSET a ohmytext b mynewtext", "+OK");
    CHECK(g, "LCS a b", "$6 mytext");
    CHECK(g, "LCS a b LEN", ":6");
    CHECK(g, "LCS a b IDX", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6");
    CHECK(g, "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
          "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6");
    CHECK(g, "LCS a nope", "$0 ");
    CHECK(g, "LCS nope nope2 IDX", "*4 $7 matches *0 $3 len :0");
}

Test(lcs, refuses_what_it_does_not_understand)
{
    CHECK(g, "LCS a b IDX LEN",
          "-ERR If you want both the length and indexes, please just use IDX.");
    CHECK(g, "LCS a b MINMATCHLEN", "-ERR syntax error");
    CHECK(g, "LCS a b MINMATCHLEN x", "-ERR value is not an integer or out of range");
}

// The textbook's table.
static unsigned length_of(const char *a, const char *b)
{
    static unsigned table[256][256];
    size_t n = strlen(a), m = strlen(b);
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (!i || !j)
                table[i][j] = 0;
            else if (a[i - 1] == b[j - 1])
                table[i][j] = table[i - 1][j - 1] + 1;
            else
                table[i][j] = table[i - 1][j] > table[i][j - 1] ? table[i - 1][j] : table[i][j - 1];
        }
    return table[n][m];
}

static bool is_subsequence(const char *part, const char *whole)
{
    for (; *whole && *part; whole++) part += *part == *whole;
    return !*part;
}

Test(lcs, agrees_with_the_textbook_on_random_strings)
{
    static const size_t lens[] = {0, 1, 2, 63, 64, 65, 127, 128, 129, 200};
    struct random random;
    random_seed(&random, 7);
    for (int round = 0; round < 400; round++) {
        char a[256] = "", b[256] = "";
        size_t n = lens[random_below(&random, 10)], m = lens[random_below(&random, 10)];
        uint64_t letters = 1 + random_below(&random, 6);
        for (size_t i = 0; i < n; i++) a[i] = (char)('a' + random_below(&random, letters));
        for (size_t i = 0; i < m; i++) b[i] = (char)('a' + random_below(&random, letters));
        const char *set[] = {"MSET", "a", a, "b", b}, *lcs[] = {"LCS", "a", "b"};
        size_t len;
        gyre_execute(g, 5, set, NULL, NULL, NULL);
        char *reply = driver_run(g, 3, lcs, NULL, &len);
        unsigned want = length_of(a, b);
        char *text = strchr(reply, '\n') + 1;
        text[strlen(text) - 2] = '\0';
        cr_assert_eq(strlen(text), want, "a %s b %s: %s", a, b, text);
        cr_assert(is_subsequence(text, a) && is_subsequence(text, b), "a %s b %s: %s", a, b, text);
        gyre_free(reply);
        char number[32];
        snprintf(number, sizeof number, ":%u", want);
        CHECK(g, "LCS a b LEN", number);
    }
}
