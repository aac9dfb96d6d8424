#include "textflag.h"

// The eight sums of one step lie in Y0: those of four neighbouring positions of stripe a in the low half, of stripe b
// in the high half. sum.go says what they are; mixShift and sumShift stand below as 17 and 2.

// WORDS makes a shuffle that picks, in both halves, the four overlapping words at bytes k, k+1, k+2 and k+3.
#define WORDS(name, k) \
	DATA name<>+0(SB)/8, $(0x0403020103020100 + k*0x0101010101010101);  \
	DATA name<>+8(SB)/8, $(0x0605040305040302 + k*0x0101010101010101);  \
	DATA name<>+16(SB)/8, $(0x0403020103020100 + k*0x0101010101010101); \
	DATA name<>+24(SB)/8, $(0x0605040305040302 + k*0x0101010101010101); \
	GLOBL name<>(SB), RODATA|NOPTR, $32

WORDS(words0, 0)
WORDS(words4, 4)
WORDS(words8, 8)

// STEP moves all eight sums on by four bytes: sum = sum<<2 + mix(x), with x picked out of from.
#define STEP(from, words) \
	VPSHUFB words, from, Y8; \
	VPMULLD Y1, Y8, Y8;      \
	VPSRLD  $17, Y8, Y9;     \
	VPSLLD  $2, Y0, Y0;      \
	VPXOR   Y9, Y8, Y8;      \
	VPADDD  Y8, Y0, Y0

// LOAD takes 16 bytes of both stripes, off bytes from the group at BX.
#define LOAD(off, to, half) \
	VMOVDQU     off(SI)(BX*1), half; \
	VINSERTI128 $1, off(DI)(BX*1), to, to

// GROUP moves on by the 16 positions at BX, and leaves the least of the four sums in each lane in Y7. The first word
// ends at the first position, and the last byte that is read is the one behind the last position.
#define GROUP \
	LOAD(-4, Y10, X10); \
	LOAD(0, Y11, X11);  \
	STEP(Y10, Y3);      \
	VMOVDQA Y0, Y7;     \
	STEP(Y10, Y4);      \
	VPMINUD Y0, Y7, Y7; \
	STEP(Y11, Y4);      \
	VPMINUD Y0, Y7, Y7; \
	STEP(Y11, Y5);      \
	VPMINUD Y0, Y7, Y7

// func advanceAVX2(a, b *byte, n int, factor uint32, limit uint32) int
TEXT ·advanceAVX2(SB), NOSPLIT, $0-40
	MOVQ         a+0(FP), SI
	MOVQ         b+8(FP), DI
	MOVQ         n+16(FP), CX
	MOVL         factor+24(FP), AX
	VMOVD        AX, X1
	VPBROADCASTD X1, Y1
	MOVL         limit+28(FP), AX
	VMOVD        AX, X2
	VPBROADCASTD X2, Y2
	VMOVDQU      words0<>(SB), Y3
	VMOVDQU      words4<>(SB), Y4
	VMOVDQU      words8<>(SB), Y5
	VPXOR        Y0, Y0, Y0

	// The words before the first position: three of the first group, so that no byte before the window is read, then three
	// groups.
	MOVQ $-64, BX
	LOAD(0, Y11, X11)
	STEP(Y11, Y3)
	STEP(Y11, Y4)
	STEP(Y11, Y5)
	MOVQ $-48, BX

warm:
	GROUP
	ADDQ $16, BX
	JNE  warm

next:
	CMPQ      BX, CX
	JGE       done
	GROUP
	VPMINUD   Y2, Y7, Y9 // the least is at most limit if it is the lesser of both
	VPCMPEQD  Y9, Y7, Y9
	VPMOVMSKB Y9, DX
	TESTL     DX, DX
	JNE       done
	ADDQ      $16, BX
	JMP       next

done:
	MOVQ BX, ret+32(FP)
	VZEROUPPER
	RET
