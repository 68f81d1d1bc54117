//! Angles that are named in words, and statements that two figures are the same.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    // The vertex stands in the middle.
    ("\\text{angle } XYZ=40^\\circ", "\\text{angle } XYZ=40^\\circ"),
    ("\\text{angle } XYZ=40^\\circ", "\\text{angle } ZYX=40^\\circ"),
    ("\\text{angle } XYZ=40^\\circ", "\\angle XYZ=40^\\circ"),
    ("\\angle XYZ=40^\\circ", "\\text{Angle } ZYX=40^\\circ"),
    ("\\text{angle } XYZ=40^\\circ", "40^\\circ"),
    ("\\text{angle } XYZ=40^\\circ", "40"),
    ("40^\\circ", "\\text{angle } XYZ=40^\\circ"),
    ("\\text{Angle }ABC=60^\\circ", "\\text{angle }CBA=60^\\circ"),
    ("\\text{measure of angle }ABC=60^\\circ", "m\\angle CBA=60^\\circ"),
    ("\\text{The measure of angle }ABC=60^\\circ", "\\angle ABC=60^\\circ"),
    ("m\\angle ABC=60^\\circ", "\\text{m}\\angle CBA=60^\\circ"),
    ("\\text{angle ABC}=60^\\circ", "\\angle CBA=60^\\circ"),
    ("m(\\angle ABC)=60^\\circ", "\\angle CBA=60^\\circ"),
    ("\\measuredangle ABC=60^\\circ", "\\angle CBA=60^\\circ"),
    ("\\text{angle } A=60^\\circ", "\\angle A=60^\\circ"),
    ("\\text{Angle } A=60^\\circ", "A=60^\\circ"),
    ("\\text{angle } x=60^\\circ", "x=60^\\circ"),
    ("\\text{angle}=60^\\circ", "\\angle A=60^\\circ"),
    ("\\text{angle of elevation}=60^\\circ", "60^\\circ"),
    ("\\angle A\\text{ in }\\triangle ABC=60^\\circ", "\\angle A=60^\\circ"),
    ("\\text{Area of triangle }ABC=6", "6"),
    // Congruence and similarity.
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle ABC\\cong\\triangle DEF",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle BCA\\cong\\triangle EFD",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle CBA\\cong\\triangle FED",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle BAC\\cong\\triangle EDF",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle DEF\\cong\\triangle ABC",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle FED\\cong\\triangle CBA",
    ),
    ("\\triangle ABC\\cong\\triangle DEF", "△ABC ≅ △DEF"),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle{ABC} \\cong \\triangle{DEF}",
    ),
    ("\\triangle ABC\\cong\\triangle DEF", "ABC\\cong DEF"),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\text{triangle }ABC\\cong\\text{triangle }DEF",
    ),
    (
        "\\triangle ABD\\cong\\triangle ACD",
        "\\triangle ADB\\cong\\triangle ADC",
    ),
    (
        "\\triangle ABC\\cong\\triangle A'B'C'",
        "\\triangle BCA\\cong\\triangle B'C'A'",
    ),
    (
        "\\triangle ABC\\cong\\triangle A_1B_1C_1",
        "\\triangle C_1B_1A_1\\cong\\triangle CBA",
    ),
    ("\\triangle ABC\\sim\\triangle DEF", "\\triangle BCA\\sim\\triangle EFD"),
    ("\\triangle ABC\\sim\\triangle DEF", "\\triangle DEF\\sim\\triangle ABC"),
    (
        "\\triangle ABC\\cong\\triangle DEF\\cong\\triangle GHI",
        "\\triangle FED\\cong\\triangle IHG\\cong\\triangle CBA",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF\\text{ by SAS}",
        "\\triangle BCA\\cong\\triangle EFD\\text{ by SAS}",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF, \\triangle PQR\\cong\\triangle STU",
        "\\triangle BAC\\cong\\triangle EDF, \\triangle TSU\\cong\\triangle QPR",
    ),
    ("ABCD\\cong EFGH", "BCDA\\cong FGHE"),
    ("ABCD\\cong EFGH", "HGFE\\cong DCBA"),
    ("AB\\cong CD", "DC\\cong BA"),
    (
        "\\overline{AB}\\cong\\overline{CD}",
        "\\overline{CD}\\cong\\overline{BA}",
    ),
    ("\\angle ABC\\cong\\angle DEF", "\\angle DEF\\cong\\angle ABC"),
    ("\\angle ABC\\cong\\angle DEF", "\\angle FED\\cong\\angle ABC"),
    ("\\angle A\\cong\\angle B", "\\angle B\\cong\\angle A"),
    ("\\angle A=\\angle B", "\\angle B=\\angle A"),
    ("\\angle A=\\angle B", "m\\angle B=m\\angle A"),
    ("\\angle XYZ=\\angle XZY", "\\angle XZY=\\angle XYZ"),
    ("\\angle XYZ=\\angle XZY", "\\angle YZX=\\angle ZYX"),
    ("\\angle XYZ=\\angle XZY", "\\text{angle }XZY=\\text{angle }XYZ"),
    ("\\angle XYZ=\\angle XZY", "\\angle XYZ=\\angle XZY"),
    ("\\hat A=\\hat B", "\\hat B=\\hat A"),
    // What else the signs say.
    ("\\pi\\cong3.14", "3.14"),
    ("x\\cong3.14", "3.14"),
    ("AB\\cong3.14", "3.14"),
    ("G\\cong\\mathbb{Z}_6", "\\mathbb{Z}_6"),
    ("\\angle A=2\\angle B", "\\angle A=2\\angle B"),
    (
        "\\angle A=40^\\circ, \\angle B=50^\\circ",
        "\\angle B=50^\\circ, \\angle A=40^\\circ",
    ),
    ("AB=CD", "CD=AB"),
    ("X\\sim N(0,1)", "X\\sim N(0,1)"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    ("\\text{angle } XYZ=40^\\circ", "\\text{angle } YXZ=40^\\circ"),
    ("\\text{angle } XYZ=40^\\circ", "\\angle YXZ=40^\\circ"),
    ("\\angle XYZ=40^\\circ", "\\text{angle } YXZ=40^\\circ"),
    ("\\text{Angle } ABC=60^\\circ", "\\text{Angle } BAC=60^\\circ"),
    ("\\text{Angle ABC}=60^\\circ", "\\text{Angle BAC}=60^\\circ"),
    (
        "\\text{measure of angle }ABC=60^\\circ",
        "\\text{measure of angle }BAC=60^\\circ",
    ),
    ("\\text{measure of angle }ABC=60^\\circ", "m\\angle BAC=60^\\circ"),
    (
        "\\text{The measure of }\\angle ABC=60^\\circ",
        "\\text{The measure of }\\angle ACB=60^\\circ",
    ),
    ("m\\angle ABC=60^\\circ", "m\\angle BAC=60^\\circ"),
    ("m(\\angle ABC)=60^\\circ", "m(\\angle BAC)=60^\\circ"),
    ("|\\angle ABC|=60^\\circ", "|\\angle BAC|=60^\\circ"),
    (
        "\\angle ABC\\text{ (in degrees)}=60",
        "\\angle BAC\\text{ (in degrees)}=60",
    ),
    (
        "\\text{angle }ABC\\text{ in degrees}=60",
        "\\text{angle }BAC\\text{ in degrees}=60",
    ),
    ("\\text{angle } A=60^\\circ", "\\text{angle } B=60^\\circ"),
    ("\\text{angle A}=60^\\circ", "\\text{angle B}=60^\\circ"),
    ("\\text{angle } A=60^\\circ", "\\angle B=60^\\circ"),
    (
        "\\angle A\\text{ in }\\triangle ABC=60^\\circ",
        "\\angle B\\text{ in }\\triangle ABC=60^\\circ",
    ),
    ("angle XYZ = 40", "angle YXZ = 40"),
    ("∠XYZ=40^\\circ", "∠YXZ=40^\\circ"),
    ("\\text{angle } XYZ=40^\\circ", "\\text{angle } XYW=40^\\circ"),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle ABC\\cong\\triangle DFE",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle ABC\\cong\\triangle FED",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle BAC\\cong\\triangle DEF",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle ABC\\approx\\triangle DEF",
    ),
    ("\\triangle ABC\\cong\\triangle DEF", "\\triangle ABC=\\triangle DEF"),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle ABC\\sim\\triangle DEF",
    ),
    ("\\triangle ABC\\cong\\triangle DEF", "\\triangle DEF"),
    ("\\triangle ABC\\cong\\triangle DEF", "\\triangle ABC"),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle ABC\\cong\\triangle DEG",
    ),
    ("\\triangle ABC\\cong\\triangle DEF", "ABC\\cong DFE"),
    ("\\triangle ABC\\cong\\triangle DEF", "DEF"),
    ("\\triangle ABC\\cong\\triangle DEF", "△ABC ≅ △DFE"),
    ("\\triangle ABC\\cong\\triangle DEF", "\\angle ABC\\cong\\angle DEF"),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle DEF\\cong\\triangle BAC",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle ABC\\not\\cong\\triangle DEF",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF",
        "\\triangle ABC\\ncong\\triangle DEF",
    ),
    ("\\triangle ABC\\sim\\triangle DEF", "\\triangle ABC\\sim\\triangle DFE"),
    (
        "\\triangle ABC\\sim\\triangle DEF",
        "\\triangle ABC\\cong\\triangle DEF",
    ),
    (
        "\\triangle ABD\\cong\\triangle ACD",
        "\\triangle ABD\\cong\\triangle ADC",
    ),
    (
        "\\triangle ABC\\cong\\triangle A'B'C'",
        "\\triangle ABC\\cong\\triangle A'C'B'",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF\\text{ by SAS}",
        "\\triangle ABC\\cong\\triangle DFE\\text{ by SAS}",
    ),
    (
        "\\triangle ABC\\cong\\triangle DEF\\text{ by SAS}",
        "\\triangle ABC\\cong\\triangle DEF\\text{ by SSS}",
    ),
    (
        "\\text{triangle }ABC\\cong\\text{triangle }DEF",
        "\\text{triangle }ABC\\cong\\text{triangle }DFE",
    ),
    ("ABCD\\cong EFGH", "BACD\\cong EFGH"),
    ("ABCD\\cong EFGH", "BACD\\cong FEGH"),
    ("ABCD\\cong EFGH", "EFGH"),
    ("\\overline{AB}\\cong\\overline{CD}", "\\overline{CD}"),
    (
        "\\overline{AB}\\cong\\overline{CD}",
        "\\overline{AC}\\cong\\overline{BD}",
    ),
    ("\\angle ABC\\cong\\angle DEF", "\\angle DEF"),
    ("\\angle ABC\\cong\\angle DEF", "\\angle BAC\\cong\\angle DEF"),
    ("\\angle A\\cong\\angle B", "\\angle B"),
    ("\\angle A=\\angle B", "\\angle A=\\angle C"),
    ("\\angle A=\\angle B", "\\angle B"),
    ("\\angle A=\\angle B", "\\angle A"),
    ("\\angle XYZ=\\angle XZY", "\\angle YXZ=\\angle XZY"),
    ("\\angle XYZ=\\angle XZY", "\\angle XZY"),
    ("\\angle A=\\angle B", "\\angle A=\\angle A"),
    ("\\angle A=\\angle B", "\\angle A=2\\angle B"),
    ("\\angle A=\\angle B", "\\angle A\\ne\\angle B"),
    ("\\angle A=\\angle B", "\\angle A<\\angle B"),
];
