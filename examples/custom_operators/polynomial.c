/* y = c[0] + c[1] x + c[2] x^2 ... by Horner's rule: the kernel of polynomial.py. One unit is one row of x. */
#include <stdint.h>

void polynomial(const void *context, void *const *buffers, int64_t begin, int64_t end)
{
    const float *x = buffers[0], *coefficients = buffers[1];
    const int64_t *parameters = buffers[2], columns = parameters[0], count = parameters[1];
    float *y = buffers[3];
    (void)context;
    for (int64_t i = begin * columns; i < end * columns; i++) {
        float sum = 0.0f;
        for (int64_t k = count - 1; k >= 0; k--)
            sum = sum * x[i] + coefficients[k];
        y[i] = sum;
    }
}
